"""Feature maps of networks from scratch and from ImageNet weights, on three image sets and after changes.

    nox -s evidence -- feature-maps RUN... --data mandatory1/data --imagenet imagenet-sample-images
        --cifar10 CIFAR-10-images/test

Writes `reports/feature-maps`, without photographs. Networks that are already in its `numbers.json` are not measured
again unless their weights, their scenes or `study.VERSION` have changed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from in4310repro.system.files import json_bytes, read_json, write_file
from in4310repro.system.progress import Progress
from studies.feature_maps.images import IMAGES, MORE_IMAGES, Folders
from studies.feature_maps.networks import subjects
from studies.feature_maps.page import COURSE, NUMBERS, write_page
from studies.feature_maps.study import identity, study


def main(runs: Sequence[Path], data: Path, folders: Folders) -> None:
    # Last bits of a float32 convolution depend on the number of threads.
    torch.set_num_threads(1)
    known = {each["identity"]: each for each in read_json(NUMBERS)["networks"]} if NUMBERS.exists() else {}
    ours, original = (read_json(COURSE)[key] for key in ("ours", "original"))
    header = {"images": IMAGES, "more_images": MORE_IMAGES, "printed": original, "corrected_run": ours}
    networks: list[dict[str, Any]] = []
    for subject in subjects(runs, data):
        measured = known.pop(identity(subject), None) or study(subject, folders, Progress())
        # Not in the identity: which other runs have the network does not change its numbers.
        networks.append({**measured, "also": list(subject.also)})
        # With those of before that may still be asked for, so that an interrupted call loses none.
        write_file(NUMBERS, json_bytes(header | {"networks": [*networks, *known.values()]}))
    write_file(NUMBERS, json_bytes(header | {"networks": networks}))
    write_page()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--imagenet", type=Path, required=True)
    parser.add_argument("--cifar10", type=Path, required=True)
    given = parser.parse_args()
    main(given.runs, given.data, Folders(given.imagenet, given.cifar10))
