"""Replay: epochs of a run trained again, each from its saved start, and compared to the bit (docs/replay.md)."""
