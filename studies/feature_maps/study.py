"""All measurements of one network, as a JSON value."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
from jaxtyping import Int64

from in4310repro.data.images import ImageSet
from in4310repro.system.progress import Progress
from in4310repro.system.tensors import tensors_sha256
from studies.feature_maps import changes
from studies.feature_maps.images import IMAGES, MORE_IMAGES, SCENES, THREE, Folders, draw, image_sets
from studies.feature_maps.measurement import measure
from studies.feature_maps.networks import Subject
from studies.feature_maps.spectra import describe, split_by_class

# To be increased when other numbers are measured, so that all networks are measured again.
VERSION = 2


def identity(subject: Subject) -> str:
    """Return a hash of what a network's measurements depend on: weights, scenes, facts and what is measured."""
    digest = hashlib.sha256(json.dumps(subject.facts, sort_keys=True).encode())
    digest.update(f"{VERSION} {IMAGES} {MORE_IMAGES} {tensors_sha256(subject.model.state_dict())}".encode())
    for entry in (*subject.scenes, *subject.trained_on):
        digest.update(entry.sha256.encode())
    return digest.hexdigest()


def study(subject: Subject, folders: Folders, progress: Progress) -> dict[str, Any]:
    """Return the measurements of one network: facts, numbers by set and module, and shares after changes."""
    numbers: dict[str, Any] = {"name": subject.name, **subject.facts, "size": subject.size}
    numbers["identity"] = identity(subject)
    scenes = draw(subject, folders, SCENES, IMAGES, subject.size)
    with progress.task(subject.name, 1) as advance:
        numbers["signs"] = study_signs(subject, scenes)
        if subject.measures_spectra:
            numbers |= study_spectra(subject, folders, np.asarray(scenes.labels))
        advance(1, "")
    return numbers


def study_spectra(subject: Subject, folders: Folders, labels: Int64[np.ndarray, " image"]) -> dict[str, Any]:
    """Return spectra by set and module, those of scenes by class, and the effective ranks of more images.

    `labels` are those of the scenes.
    """
    model, modules = subject.model, subject.modules
    measured = {name: measure(model, images, modules) for name, images in image_sets(subject, folders)}
    more = {name: measure(model, draw(subject, folders, name, MORE_IMAGES, subject.size), modules) for name in THREE}
    return {
        "sets": {name: {module: describe(*each) for module, each in of.items()} for name, of in measured.items()},
        "by_class": {name: split_by_class(each.rows, labels) for name, each in measured[SCENES].items()},
        "more": {
            name: {module: each.result.spectrum.effective_rank() for module, each in of.items()}
            for name, of in more.items()
        },
    }


def study_signs(subject: Subject, scenes: ImageSet) -> dict[str, Any]:
    """Return the share of values <= 0 of each convolution after each change."""
    model, norms = subject.model, subject.norms
    signs: dict[str, Any] = {"changes": changes.measure_changes(model, scenes, norms, subject.initial)}
    for name, shares in changes.measure_changes_before(model, scenes, subject.blocks).items():
        signs["changes"][name] |= shares
    first = subject.modules[0]
    signs["not normalised"] = changes.measure_unnormalised(model.get_submodule(first), scenes)
    if subject.initial is not None:
        signs["moved"] = changes.compare_moved(model, scenes, norms)
    return signs
