"""Reproduces a published image-classification report and proves every number in it."""
