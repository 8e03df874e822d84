"""Audit of printed numbers: the integer counts behind them, contradictions between them, and oddities.

`readers.read` finds the numbers of a text, `examine.audit` checks them by its list `CHECKS`, `view` shows the result.
"""
