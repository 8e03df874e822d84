"""Forged runs: each is an honest one in which a forger changed something and made the rest fit."""
