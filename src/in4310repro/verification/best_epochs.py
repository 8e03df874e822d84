"""The best epoch of a setting: its history row and the hashes of its tensors, from the weights that were saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from in4310repro.context import Context
from in4310repro.data.images import ImageSet
from in4310repro.numerics import Numerics
from in4310repro.prediction import predict
from in4310repro.progress import Progress
from in4310repro.runs import names
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.selection import best_epoch
from in4310repro.tensors import tensor_hashes, tensors_sha256
from in4310repro.verification.records import record_differences, unproven_precisions

# Of a history row: only training again shows them, or nothing; that the strengths are those tried is seen on opening.
NOT_COMPUTED = ("train_loss", "images_per_second", "strength")


def best_epoch_differences(
    run: FinishedRun,
    setting: str,
    stored: Mapping[str, torch.Tensor],
    model: torch.nn.Module,
    validation: ImageSet,
    numerics: Numerics,
    progress: Progress,
    *,
    bitwise: bool,
    unproven: list[str],
) -> Iterator[str]:
    """What history.json and tensors.json say of a setting's best epoch otherwise than its weights do.

    The best epoch is the first with the highest mean class accuracy, so that the setting's selection, and the selection
    of the setting, follow from rows of which this one is computed again.

    Args:
        run: gives the records.
        setting: its name.
        stored: the tensors of the setting's best weights, as the file holds them.
        model: the network with them, placed by `numerics`.
        validation: the images that the setting was validated on.
        numerics: the arithmetic of this process.
        progress: where to show how far it is.
        bitwise: equal bits are required.
        unproven: filled with a sentence for each average precision that close scores leave open.

    Raises:
        ValueError: a score is not finite.
    """
    row = best_epoch(run.histories[setting])
    file = run.folder / names.of_setting(setting, names.HISTORY)
    scores = predict(model, validation, run.config, Context(numerics, progress), epoch=row["epoch"])
    computed = {
        "val_loss": scores.loss,
        **scores.metrics(run.config.protocol),
        "weights_sha256": tensors_sha256(stored),
    }
    saved = {key: value for key, value in row.items() if key not in ("epoch", *NOT_COMPUTED)}
    place = f"{file}: epoch {row['epoch']}"
    if not bitwise:
        of_row = f"the average precision by setting {setting} on validation images"
        precisions = row["average_precision"]
        unproven += unproven_precisions(of_row, precisions, run.classes, scores, run.config.protocol)
    yield from record_differences(place, saved, computed, scores, run.config.protocol, bitwise=bitwise)
    yield from _tensor_differences(run, setting, row["epoch"], stored)


def _tensor_differences(
    run: FinishedRun, setting: str, epoch: int, stored: Mapping[str, torch.Tensor]
) -> Iterator[str]:
    recorded = run.tensors[setting][epoch - 1]["tensors"]
    hashes = {name: digits[:12] for name, digits in tensor_hashes(stored).items()}
    if changed := [name for name in dict.fromkeys([*recorded, *hashes]) if hashes.get(name) != recorded.get(name)]:
        file = run.folder / names.of_setting(setting, names.TENSORS)
        best = names.of_setting(setting, names.BEST_WEIGHTS)
        yield f"{file}: epoch {epoch} has other hashes than {best}: {changed[0]}, {len(changed)} in all"
