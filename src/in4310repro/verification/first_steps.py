"""First steps of a run's training, taken again in the arithmetic of the run: `python -m ...first_steps RUN`.

`in4310repro explain RUN` runs this under changes.
"""

import sys

from in4310repro.verification.replay import first_steps

if __name__ == "__main__":
    model, criterion, optimizer, batches = first_steps(sys.argv[1])
    for images, labels in batches:
        loss = criterion(model(images), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
