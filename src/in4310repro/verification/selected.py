"""Checks of the selected network: its test scores, and all of metrics.json."""

from __future__ import annotations

from collections.abc import Iterator

from in4310repro.metrics import class_metrics
from in4310repro.runs import names
from in4310repro.runs.measured import run_metrics
from in4310repro.system.tensors import tensors_sha256
from in4310repro.verification.check import IN_CLASS, Claim, Finding
from in4310repro.verification.evidence import SettingEvidence
from in4310repro.verification.records import open_precisions, record_differences
from in4310repro.verification.scores import score_differences


def saved_score_differences(selected: SettingEvidence) -> Iterator[Finding]:
    """Yield a message for each kind of difference between scores.npz and the selected network's recomputed scores.

    If equal bits are not required, average precisions that the tolerance does not determine are yielded as claims.

    Raises:
        ValueError: a score is not finite.
    """
    evidence, run = selected.evidence, selected.evidence.run
    yield from score_differences(run.scores, selected.test_scores, bitwise=evidence.bitwise)
    if evidence.bitwise:
        return
    saved = [("the average precision", run.metrics["average_precision"], selected.test_scores)]
    if selected.unseen_scores is not None and "unseen" in run.metrics:
        precisions = run.metrics["unseen"]["average_precision"]
        saved.append(("the average precision of unseen images", precisions, selected.unseen_scores))
    for place, precisions, scores in saved:
        for sentence in open_precisions(place, precisions, run.classes, scores, run.config.protocol):
            yield Claim(sentence, IN_CLASS)


def metrics_differences(selected: SettingEvidence) -> Iterator[str]:
    """Yield a message for each value of metrics.json that differs from the one computed from the new scores.

    The new scores are those that the selected network gives in this process. If equal bits are not required, class
    metrics must also equal those of the saved scores exactly, unless the protocol ranks by logits.

    Raises:
        ValueError: a score is not finite.
    """
    run, bitwise = selected.evidence.run, selected.evidence.bitwise
    scores, unseen, sha256 = selected.test_scores, selected.unseen_scores, tensors_sha256(selected.stored)
    place, protocol = f"{run.folder / names.METRICS}", run.config.protocol
    computed = dict(run_metrics(run.config, run.split, run.histories, sha256, scores, unseen))
    saved = dict(run.metrics)
    saved_unseen, computed_unseen = saved.pop("unseen", None), computed.pop("unseen", None)
    yield from record_differences(place, saved, computed, scores, protocol, bitwise=bitwise)
    if isinstance(saved_unseen, dict) and isinstance(computed_unseen, dict) and unseen is not None:
        inner = f"{place}: unseen"
        yield from record_differences(inner, saved_unseen, computed_unseen, unseen, protocol, bitwise=bitwise)
    elif saved_unseen != computed_unseen:
        yield f"{place}: unseen belongs to a protocol with shared-split, and to no other"
    if not bitwise and not protocol.ranks_logits:
        of_saved = run.scores.metrics(by_logits=protocol.ranks_logits)
        yield from record_differences(
            place, dict(class_metrics(run.metrics)), dict(of_saved), run.scores, protocol, bitwise=True
        )
