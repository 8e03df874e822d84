"""Check of groups.json: the groups of images that the split keeps in one part, found again from features."""

from __future__ import annotations

import copy
from collections.abc import Iterator

from in4310repro.evaluation.doubts import grouping
from in4310repro.runs import names
from in4310repro.runs.config import LOOK_ALIKES
from in4310repro.verification.evidence import Evidence


def group_differences(evidence: Evidence) -> Iterator[str]:
    """Yield a message for the first image whose group differs from the recorded one.

    No cache is read. Nothing is compared unless equal bits are required, since the last bit of a feature may decide
    which image is the nearest.

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
