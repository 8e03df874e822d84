"""Epochs of a run trained again, each from the kept one before it, and compared to the bit (docs/replay.md)."""
