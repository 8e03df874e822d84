"""Embedded scenes, image folders, splits, decoding and the loaders."""
