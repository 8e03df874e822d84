"""Check that the saved weights of each training setting (one optimizer) give its best epoch's recorded values."""

from __future__ import annotations

from collections.abc import Iterator

from in4310repro.runs import names
from in4310repro.system.tensors import tensor_hashes, tensors_sha256
from in4310repro.verification.check import IN_CLASS, Claim, Finding
from in4310repro.verification.evidence import SettingEvidence
from in4310repro.verification.records import open_precisions, record_differences

# Of a history row: only training again shows them, or nothing; that the strengths are those tried is seen on opening.
NOT_COMPUTED = ("train_loss", "images_per_second", "strength")


def best_epoch_differences(setting: SettingEvidence) -> Iterator[Finding]:
    """Yield a message for each value recorded for the best epoch that its saved weights do not give.

    The values are those in history.json and tensors.json. The best epoch is the one with the best value of the metric
    `select` of the configuration; ties go to the earlier epoch. If equal bits are not required, average precisions that
    the tolerance does not determine are yielded as claims.

    Raises:
        ValueError: a score is not finite.
    """
    run, bitwise, row = setting.evidence.run, setting.evidence.bitwise, setting.best_row
    scores, protocol = setting.validation_scores, run.config.protocol
    computed = {
        "val_loss": scores.loss,
        **scores.metrics(by_logits=protocol.ranks_logits),
        "weights_sha256": tensors_sha256(setting.stored),
    }
    saved = {key: value for key, value in row.items() if key not in ("epoch", *NOT_COMPUTED)}
    place = f"{setting.file(names.HISTORY)}: epoch {row['epoch']}"
    yield from record_differences(place, saved, computed, scores, protocol, bitwise=bitwise)
    yield from _tensor_differences(setting)
    if not bitwise:
        of_row = f"the average precision by setting {setting.name} on validation images"
        for sentence in open_precisions(of_row, row["average_precision"], run.classes, scores, protocol):
            yield Claim(sentence, IN_CLASS)


def _tensor_differences(setting: SettingEvidence) -> Iterator[str]:
    epoch = setting.best_row["epoch"]
    recorded = setting.evidence.run.tensors[setting.name][epoch - 1]["tensors"]
    hashes = {name: digits[:12] for name, digits in tensor_hashes(setting.stored).items()}
    if changed := [name for name in dict.fromkeys([*recorded, *hashes]) if hashes.get(name) != recorded.get(name)]:
        best = names.of_setting(setting.name, names.BEST_WEIGHTS)
        yield (
            f"{setting.file(names.TENSORS)}: the hashes of epoch {epoch} differ from those of {best}: {changed[0]}, "
            f"{len(changed)} in all"
        )
