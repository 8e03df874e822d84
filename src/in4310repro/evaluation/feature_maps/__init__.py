"""Measurements of feature maps, for a run's network on its image sets or for any network on a folder of images."""
