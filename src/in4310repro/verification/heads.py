"""The fits of a head, made again: all that a run says of them follows from images, split and what is not trained."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import torch

from in4310repro import architectures, head, models, trained_part
from in4310repro.config import FROM, STRENGTHS
from in4310repro.context import Context
from in4310repro.data.images import ImageSet
from in4310repro.deviations import Protocol
from in4310repro.embedding import Embedding, embed
from in4310repro.epochs import TrainingInputs
from in4310repro.metrics import METRICS, SCALARS, Tolerance, class_metrics, ends
from in4310repro.runs import names
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.records import HistoryRow
from in4310repro.runs.selection import best_epoch
from in4310repro.scores import Scores
from in4310repro.tensors import tensors_sha256
from in4310repro.verification.records import sentence

# Of another machine's fit: BLAS adds in another order, and L-BFGS ends near the minimum and not at it. With OpenBLAS's
# kernels for five processors, on 1,272 photographs, scores of any part differ by up to 5e-8 at strength 0.001, 2e-5 at
# 0.003, 6e-5 at 0.01, 7e-4 at 0.03, 4e-4 at 0.1, 0.002 at 0.3 and 0.01 at 1; on 12,034 by up to 0.003, losses by 3e-6.
LOSS_TOLERANCE = 1e-4
SOFTMAX_TOLERANCE = 0.03  # at most
SOFTMAX_PER_STRENGTH = 0.1
# A fit ends where no derivative exceeds `head.TOLERANCE`; the same fits have up to 1.02e-6, in float32 and with
# features of another numeric class. Of the larger of that limit and the derivative of the same fit, made again.
DERIVATIVE_FACTOR = 4
ROUNDING = 1e-12  # of a mean of float64
MEASURED = ("train_loss", "val_loss", *METRICS)


def score_tolerance(strength: float) -> float:
    """How far scores of the same fit on another machine may differ: a weaker penalty determines the head less."""
    return min(SOFTMAX_TOLERANCE, SOFTMAX_PER_STRENGTH * strength)


@dataclass(frozen=True, kw_only=True)
class HeadFits:
    """The fits of a setting's head, made again and compared with what the run says of them."""

    run: FinishedRun
    setting: str
    stored: Mapping[str, torch.Tensor]  # the best weights, as the file holds them
    inputs: TrainingInputs  # the network in them has these weights; its last layer is replaced
    test: ImageSet
    bitwise: bool  # features have the run's bits
    notes: list[str] = field(default_factory=list)  # filled with what is said of fits whose bits are others

    def differences(self) -> Iterator[str]:
        """A sentence for each value of the history, and for the saved head, that the same fits do not give."""
        yield from _body_differences(self.run, self.setting, self.stored)
        inputs, history = self.inputs, self.run.histories[self.setting]
        features, other_bits = head.features_of(inputs, inputs.model, cache=False), []
        with inputs.context.progress.task(f"fits of {self.setting}", len(STRENGTHS)) as advance:
            for row, strength in zip(history, STRENGTHS, strict=True):
                again = head.fitted_row(inputs, inputs.model, features, row["epoch"], strength)
                best = row["epoch"] == best_epoch(history)["epoch"]
                bits = {row["weights_sha256"], *([tensors_sha256(self.stored)] if best else [])}
                equal = bits == {again["weights_sha256"]}
                yield from self._row_differences(row, again, features.validation, exact=equal and self.bitwise)
                if not equal and best:
                    yield from self._saved_head_differences(features, row)
                elif not equal:
                    other_bits.append(row["epoch"])
                advance(1, "")
        if other_bits:
            words = f"fitted again, fit {', '.join(map(str, other_bits))} has other bits, as on another processor"
            self.notes.append(f"setting {self.setting}: {words}")

    def _row_differences(
        self, row: HistoryRow, again: HistoryRow, validation: Embedding, *, exact: bool
    ) -> Iterator[str]:
        place = f"{self.run.folder / names.of_setting(self.setting, names.HISTORY)}: fit {row['epoch']}"
        if exact:
            for key in (key for key in MEASURED if key in row):
                if row[key] != again[key]:  # type: ignore[literal-required]
                    yield sentence(place, key, row[key], again[key])  # type: ignore[literal-required]
            return
        for key in ("train_loss", "val_loss"):
            value, now = row[key], again[key]  # type: ignore[literal-required]
            if not abs(now - value) <= LOSS_TOLERANCE * max(1, value):
                yield f"{place}: {key} is {value}; fitted again it is {now}"
        fitted = self._scores(validation, self.inputs.validation)
        yield from _metric_differences(place, row, fitted, self.run.config.protocol)

    def _saved_head_differences(self, features: head.Features, row: HistoryRow) -> Iterator[str]:
        """What shows that the saved head is not the fit, whose head the network has now.

        Two conditions that hold for the same fit on another machine: the penalised loss of the saved head has no slope
        to speak of, and scores of every part of the images are close. The first leaves no room for what no training
        image sees, since the penalty alone pulls there; the second bounds what a flat direction may do.
        """
        run, inputs, strength = self.run, self.inputs, row["strength"]
        test = embed(
            inputs.model,
            run.config.model,
            self.test,
            run.config.evaluation_batch_size,
            Context(inputs.context.numerics, inputs.context.progress),
            cache=False,
        )
        parts = {
            "training": (features.training, inputs.training),
            "validation": (features.validation, inputs.validation),
            "test": (test, self.test),
        }
        fitted, slope = {name: self._scores(*part) for name, part in parts.items()}, self._slope(features, strength)
        name = trained_part.last_layer_name(inputs.model, run.config.model)
        self._layer.load_state_dict({key: self.stored[f"{name}.{key}"] for key in ("weight", "bias")})
        saved, saved_slope = (
            {name: self._scores(*part) for name, part in parts.items()},
            self._slope(features, strength),
        )
        place, tolerance = run.folder / names.of_setting(self.setting, names.BEST_WEIGHTS), score_tolerance(strength)
        allowed = DERIVATIVE_FACTOR * max(head.TOLERANCE, slope)
        # Not above: nan is a difference too.
        if not saved_slope <= allowed:
            yield (
                f"{place}: the head is not the minimum of its penalised loss, which changes by {saved_slope:.2g} "
                f"along one of its weights; a fit of strength {strength:g} leaves at most {allowed:.2g}"
            )
        for name in parts:
            largest = float(abs(fitted[name].softmax - saved[name].softmax).max())
            if not largest <= tolerance:
                yield (
                    f"{place}: scores of {name} images are up to {largest:.2g} from those of the same fit, made again; "
                    f"{tolerance:g} is allowed at strength {strength:g}"
                )
        self.notes.append(_other_bits(place, saved["test"], fitted["test"], run.config.protocol))

    @property
    def _layer(self) -> torch.nn.Linear:
        return trained_part.last_layer(self.inputs.model, self.run.config.model)

    def _scores(self, features: Embedding, images: ImageSet) -> Scores:
        """Scores by the head that the network has now."""
        size = self.run.config.evaluation_batch_size
        return head.scores_of_features(self._layer, features, images, size, self.inputs.context.numerics)

    def _slope(self, features: head.Features, strength: float) -> float:
        """The largest derivative of the penalised loss at the head that the network has now."""
        now = head.Head(*(each.detach().cpu() for each in (self._layer.weight, self._layer.bias)))
        return head.largest_derivative(now, features.training, self.inputs.training.labels, strength)


def _other_bits(place: object, saved: Scores, fitted: Scores, protocol: Protocol) -> str:
    """That a head is the fit within tolerances alone, and what the fit that was made here measures."""
    listed = [
        f"{each.label} {then[name]:.4f} and {now[name]:.4f}"  # type: ignore[literal-required]
        for then, now in [(saved.metrics(protocol), fitted.metrics(protocol))]
        for name, each in SCALARS.items()
    ]
    changed = int((saved.softmax.argmax(axis=1) != fitted.softmax.argmax(axis=1)).sum())
    return (
        f"{place}: the head fitted again has other bits, as on another processor; test images by the saved head and by "
        f"that one: {', '.join(listed)}, {changed} predictions differ"
    )


def frozen_differences(run: FinishedRun, setting: str, stored: Mapping[str, torch.Tensor]) -> Iterator[str]:
    """A sentence where a setting that trains from a layer on has moved what lies before, and the start is at hand."""
    config = run.config
    part = config.trained_part(config.setting(setting))
    if not part.startswith(FROM) or config.protocol.starts_warm or not models.at_hand(config.model, config.weights):
        return
    model = models.build(config.model, len(run.classes), config.seed, config.weights)
    frozen = trained_part.frozen_modules(model, part)
    names_of_frozen = {name for name, module in model.named_modules() if any(module is each for each in frozen)}
    still = {name for name in stored if name.rpartition(".")[0] in names_of_frozen}
    yield from _moved(run, setting, stored, model.state_dict(), still)


def _moved(
    run: FinishedRun,
    setting: str,
    stored: Mapping[str, torch.Tensor],
    before: Mapping[str, torch.Tensor],
    still: Container[str],
) -> Iterator[str]:
    """A sentence that names the first of the tensors that should be as they were and are not."""
    # In the order of the network: that of a file that was read is another one each time.
    moved = [name for name in before if name in still and not torch.equal(stored[name], before[name])]
    place = run.folder / names.of_setting(setting, names.BEST_WEIGHTS)
    yield from (f"{place}: {name} is not that of the weights before training" for name in moved[:1])


def _body_differences(run: FinishedRun, setting: str, stored: Mapping[str, torch.Tensor]) -> Iterator[str]:
    """A sentence where what is not the head has moved, by the hash of all weights before training."""
    config, names_of_head = run.config, architectures.head(run.config.model)
    drawn = models.build(config.model, len(run.classes), config.seed).state_dict()
    before = {name: drawn[name] if name in names_of_head else value for name, value in stored.items()}
    recorded = run.fingerprint.get("initial_weights_sha256")
    if tensors_sha256(before) == recorded:
        return
    if models.at_hand(config.model, config.weights):
        # Of a file with as many classes even the head was read.
        before = models.build(config.model, len(run.classes), config.seed, config.weights).state_dict()
        yield from _moved(run, setting, stored, before, stored.keys() - names_of_head)


def _metric_differences(place: str, row: HistoryRow, scores: Scores, protocol: Protocol) -> Iterator[str]:
    """Yield a sentence for each metric of a row that no scores within the tolerance of these give."""
    labels, exact = torch.from_numpy(scores.labels), torch.from_numpy(scores.softmax).double()
    tolerance = score_tolerance(row["strength"])
    worst, best = ends(labels, exact - tolerance, exact + tolerance)
    for key, metric in METRICS.items():
        if key not in row or (metric.tolerance is Tolerance.ORDER and protocol.ranks_logits):
            # An older run says nothing of it; or how far logits may be off is not known.
            continue
        low, said, high = (class_metrics(each)[key] for each in (worst, row, best))  # type: ignore[literal-required]
        bounds = [torch.tensor(each).double() for each in (low, said, high)]
        if any((upper - lower).min() < -ROUNDING for lower, upper in pairwise(bounds)):
            yield f"{place}: {key} is {said}; fitted again it is {low} to {high}"
