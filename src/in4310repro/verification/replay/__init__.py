"""Replay: train epochs of a run again from their saved starts, and compare the results bitwise (docs/replay.md)."""
