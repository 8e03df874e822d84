"""The table of metrics and their functions, which a command reads before it loads anything that computes."""
