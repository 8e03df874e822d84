"""Find the lines that training logs print by epoch, batch or progress bar; they hold no class values."""

from __future__ import annotations

import re
from collections.abc import Sequence

# `Epoch 3`, `Epoch=0`, `[3, 2000]`, `782/782 [01:18<00:00, 9.99it/s]`, `63/63 - 2s 31ms/step`.
RUNNING = re.compile(
    r"\b(?:epochs?|iter(?:ation)?s?|steps?|batch(?:es|_id|_idx)?) ?[:=\[(#]{0,2} ?\d|\d/\d{1,9} ?\[|\dit/s"
    r"|s/it\b|\d ?m?s/step"
    r"|\beta ?[:=]|\blr ?[:=]|^\[ ?\d{1,5}, ? {0,8}\d{1,9}\]|\bval_(?:loss|acc(?:uracy)?) ?:"
    r"|\bepoch ?\(|\b(?:improved|increased|decreased|not improve)\b",
    re.IGNORECASE,
)
LOSS = re.compile(r"\bloss\b", re.IGNORECASE)
NUMBERED = re.compile(r"\d")
REPEATED = 3  # so many lines with a loss are a log, fewer a final evaluation
LINE = 2000  # characters: what is longer is data and no line that somebody reads


def find_running(lines: Sequence[str]) -> frozenset[int]:
    """Return the numbers, from 1, of the lines that a training log or a progress bar prints."""
    short = [line[:LINE] for line in lines]
    found = {number for number, line in enumerate(short, start=1) if RUNNING.search(line) and NUMBERED.search(line)}
    losses = {number for number, line in enumerate(short, start=1) if LOSS.search(line) and NUMBERED.search(line)}
    return frozenset(found | (losses if len(losses) >= REPEATED else set()))
