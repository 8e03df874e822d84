"""The selected network: its test scores and metrics.json whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from in4310repro.context import Context
from in4310repro.data.images import ImageSet
from in4310repro.metrics import class_metrics
from in4310repro.numerics import Numerics
from in4310repro.prediction import predict
from in4310repro.progress import Progress
from in4310repro.runs import names
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.measured import run_metrics
from in4310repro.scores import Scores
from in4310repro.tensors import tensors_sha256
from in4310repro.verification.records import record_differences, unproven_precisions
from in4310repro.verification.scores import score_differences


def selected_differences(
    run: FinishedRun,
    stored: Mapping[str, torch.Tensor],
    model: torch.nn.Module,
    test: ImageSet,
    unseen: ImageSet | None,
    numerics: Numerics,
    progress: Progress,
    *,
    bitwise: bool,
    unproven: list[str],
) -> Iterator[str]:
    """What scores.npz and metrics.json say otherwise than the selected network does.

    Args:
        run: gives the records.
        stored: the tensors of the selected setting's best weights, as the file holds them.
        model: the network with them, placed by `numerics`.
        test: the test images.
        unseen: those that a shared split never reads; None in other protocols.
        numerics: the arithmetic of this process.
        progress: where to show how far it is.
        bitwise: equal bits are required.
        unproven: filled with a sentence for each average precision that close scores leave open.

    Raises:
        ValueError: a score is not finite.
    """
    scores = predict(model, test, run.config, Context(numerics, progress))
    yield from score_differences(run.scores, scores, bitwise=bitwise)
    others = None if unseen is None else predict(model, unseen, run.config, Context(numerics, progress))
    if not bitwise:
        saved, protocol = run.metrics["average_precision"], run.config.protocol
        unproven += unproven_precisions("the average precision", saved, run.classes, scores, protocol)
        if others is not None and "unseen" in run.metrics:
            saved, of_unseen = run.metrics["unseen"]["average_precision"], "the average precision of unseen images"
            unproven += unproven_precisions(of_unseen, saved, run.classes, others, protocol)
    yield from metrics_differences(run, tensors_sha256(stored), scores, others, bitwise=bitwise)


def metrics_differences(
    run: FinishedRun, weights_sha256: str, scores: Scores, unseen: Scores | None, *, bitwise: bool
) -> Iterator[str]:
    """A sentence for each value of metrics.json that is not what the training would write for these scores.

    Where bits may differ, class metrics must also be those of the scores that were saved, exactly.

    Args:
        run: gives the record, the histories and the split.
        weights_sha256: of the selected network.
        scores: of the test images, just computed.
        unseen: of those that a shared split never reads.
        bitwise: equal bits are required.
    """
    place, protocol = f"{run.folder / names.METRICS}", run.config.protocol
    computed = dict(run_metrics(run.config, run.split, run.histories, weights_sha256, scores, unseen))
    saved = dict(run.metrics)
    saved_unseen, computed_unseen = saved.pop("unseen", None), computed.pop("unseen", None)
    yield from record_differences(place, saved, computed, scores, protocol, bitwise=bitwise)
    if isinstance(saved_unseen, dict) and isinstance(computed_unseen, dict) and unseen is not None:
        inner = f"{place}: unseen"
        yield from record_differences(inner, saved_unseen, computed_unseen, unseen, protocol, bitwise=bitwise)
    elif saved_unseen != computed_unseen:
        yield f"{place}: unseen belongs to a protocol with shared-split, and to no other"
    if not bitwise and not protocol.ranks_logits:
        of_saved = run.scores.metrics(protocol)
        yield from record_differences(
            place, dict(class_metrics(run.metrics)), dict(of_saved), run.scores, protocol, bitwise=True
        )
