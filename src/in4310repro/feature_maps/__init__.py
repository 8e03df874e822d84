"""Measurements of feature maps: those of a run on its image sets, and those of any folder, with partial results."""
