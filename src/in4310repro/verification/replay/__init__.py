"""Replay: train epochs again from their saved starts, and compare the results bitwise (docs/verification.md)."""
