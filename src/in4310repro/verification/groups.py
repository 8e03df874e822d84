"""The groups of images that a split holds on one side, found again by the features of the weights before training."""

from __future__ import annotations

from collections.abc import Iterator

from in4310repro import models
from in4310repro.config import LOOK_ALIKES
from in4310repro.context import Context
from in4310repro.data.splits import Split
from in4310repro.doubts import grouping
from in4310repro.numerics import Numerics
from in4310repro.progress import Progress
from in4310repro.runs import names
from in4310repro.runs.finished import FinishedRun


def group_differences(run: FinishedRun, split: Split, numerics: Numerics, progress: Progress) -> Iterator[str]:
    """A sentence for the first image that belongs together with others than the run says.

    No cache is read. Features must have the run's bits: whether two images are each other's nearest may turn on the
    last one.

    Args:
        run: gives the record.
        split: with the images where they are now.
        numerics: the arithmetic of this process.
        progress: where to show how far it is.
    """
    config = run.config
    if config.group != LOOK_ALIKES:
        return
    network = models.build(config.model, len(run.classes), config.seed, config.weights)
    again = grouping.groups(split.catalogue(), network, config, Context(numerics, progress), cache=False)
    if again == run.groups:
        return
    recorded, found = ({path: group for group in groups for path in group} for groups in (run.groups, again))
    for path in sorted(recorded.keys() | found.keys()):
        if recorded.get(path) != found.get(path):
            then, now = (" and ".join(each.get(path, ["no other"])) for each in (recorded, found))
            yield f"{run.folder / names.GROUPS}: {path} is held together with {then}; found again it is {now}"
            return
    yield f"{run.folder / names.GROUPS} has its groups in another order than they are found in"
