"""Images: drawn scenes, folders, splits, decoding, batches, sets to compare with, and the check of a folder."""
