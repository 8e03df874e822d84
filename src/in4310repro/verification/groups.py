"""The groups of images that a split holds on one side, found again by the features of the weights before training."""

from __future__ import annotations

import copy
from collections.abc import Iterator

from in4310repro.config import LOOK_ALIKES
from in4310repro.doubts import grouping
from in4310repro.runs import names
from in4310repro.verification.evidence import Evidence


def group_differences(evidence: Evidence) -> Iterator[str]:
    """Yield a sentence for the first image that belongs together with others than the run says.

    No cache is read. Where features may differ in a bit nothing is compared: whether two images are each other's
    nearest may turn on the last one.

    Raises:
        ValueError: an image or the initial weights cannot be read.
    """
    run, config = evidence.run, evidence.run.config
    if config.group != LOOK_ALIKES or not (evidence.start_at_hand and evidence.bitwise):
        return
    # A copy, since it is placed.
    network, images = copy.deepcopy(evidence.initial_network), evidence.split.catalogue()
    again = grouping.groups(images, network, config, evidence.context, cache=False)
    if again == run.groups:
        return
    recorded, found = ({path: group for group in groups for path in group} for groups in (run.groups, again))
    for path in sorted(recorded.keys() | found.keys()):
        if recorded.get(path) != found.get(path):
            then, now = (" and ".join(each.get(path, ["no other"])) for each in (recorded, found))
            yield f"{run.folder / names.GROUPS}: {path} is held together with {then}; found again it is {now}"
            return
    yield f"{run.folder / names.GROUPS} has its groups in another order than they are found in"
