"""The page on the published numbers: an audit of them, and an experiment on how they arose."""
