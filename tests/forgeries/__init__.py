"""Forged runs: a forger changes something in an honest run and makes the other files consistent with it."""
