"""A plain loop over a training that a function of this folder makes: `python -m tests.trace.run MODULE:FUNCTION`."""

from __future__ import annotations

import importlib
import sys


def main(name: str) -> None:
    module, _, function = name.partition(":")
    model, criterion, optimizer, batches = getattr(importlib.import_module(module), function)()
    for images, labels in batches:
        loss = criterion(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


if __name__ == "__main__":
    main(sys.argv[1])
