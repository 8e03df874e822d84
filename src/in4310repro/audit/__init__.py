"""Audit of printed numbers: the integer counts behind them, contradictions between them, and oddities."""
