"""Reproduces a published image-classification report and checks its numbers against reference implementations."""
