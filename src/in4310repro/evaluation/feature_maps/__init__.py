"""Measurements of feature maps, of a run on its image sets or of any folder of images, with resumable results."""
