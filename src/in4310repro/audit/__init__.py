"""Printed numbers: the integer counts behind them, whether they agree with one another, and what is only odd."""
