"""The fits of a head, made again: all that a run says of them follows from images, split and what is not trained."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from itertools import pairwise

import torch

from in4310repro import architectures, head, metrics, models, trained_part
from in4310repro.config import FROM, STRENGTHS
from in4310repro.data.images import ImageSet
from in4310repro.deviations import Deviation, Deviations
from in4310repro.embedding import Embedding
from in4310repro.epochs import TrainingInputs
from in4310repro.numerics import Numerics
from in4310repro.progress import Progress
from in4310repro.runs import names
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.records import HistoryRow
from in4310repro.runs.selection import best_epoch
from in4310repro.scores import Scores
from in4310repro.tensors import tensors_sha256

# Of another machine's fit: BLAS adds in another order, and L-BFGS ends near the minimum and not at it. On 12,034
# photographs fits for two processors differ by up to 3e-6 in the loss and 0.003 in a score.
LOSS_TOLERANCE = 1e-4
SOFTMAX_TOLERANCE = 0.03
ROUNDING = 1e-12  # of a mean of float64


def head_differences(
    run: FinishedRun,
    setting: str,
    stored: Mapping[str, torch.Tensor],
    model: torch.nn.Module,
    training: ImageSet,
    validation: ImageSet,
    numerics: Numerics,
    progress: Progress,
) -> Iterator[str]:
    """What the history and the weights of a fitted head say otherwise than the same fits, made again.

    Args:
        run: gives the records.
        setting: its name.
        stored: the tensors of its best weights, as the file holds them.
        model: the network with them, placed by `numerics`; its last layer is replaced.
        training: the images that the head was fitted to.
        validation: those that it was chosen by.
        numerics: the arithmetic of this process.
        progress: where to show how far it is.
    """
    inputs = TrainingInputs(
        model=model,
        training=training,
        validation=validation,
        config=run.config,
        setting=run.config.setting(setting),
        numerics=numerics,
        progress=progress,
    )
    yield from _body_differences(run, setting, stored)
    history = run.histories[setting]
    features = head.features_of(inputs, model, cache=False)
    place, best = run.folder / names.of_setting(setting, names.HISTORY), best_epoch(history)["epoch"]
    with progress.task(f"fits of {setting}", len(STRENGTHS)) as advance:
        for row, strength in zip(history, STRENGTHS, strict=True):
            again = head.fitted_row(inputs, model, features, row["epoch"], strength)
            for key in ("train_loss", "val_loss"):
                if not abs(again[key] - row[key]) <= LOSS_TOLERANCE * max(1, row[key]):
                    yield f"{place}: fit {row['epoch']}: {key} is {row[key]}; fitted again it is {again[key]}"
            layer, size = trained_part.last_layer(model, run.config.model), run.config.evaluation_batch_size
            fitted = head.scores_of_features(layer, features.validation, validation, size, numerics)
            yield from _metric_differences(f"{place}: fit {row['epoch']}", row, fitted, run.config.protocol)
            if row["epoch"] == best:
                yield from _score_differences(run, setting, inputs, stored, model, features.validation, fitted)
            advance(1, "")


def frozen_differences(run: FinishedRun, setting: str, stored: Mapping[str, torch.Tensor]) -> Iterator[str]:
    """A sentence where a setting that trains from a layer on has moved what lies before, and the start is at hand."""
    config = run.config
    part = config.trained_part(config.setting(setting))
    starts_warm = Deviation.WARM_START in config.protocol
    if not part.startswith(FROM) or starts_warm or not models.at_hand(config.model, config.weights):
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


def _metric_differences(place: str, row: HistoryRow, scores: Scores, protocol: Deviations) -> Iterator[str]:
    """A sentence for each metric of a row that no scores within the tolerance of these give.

    All metrics rise with the scores of the images' own classes and fall with the others.
    """
    labels, exact = torch.from_numpy(scores.labels), torch.from_numpy(scores.softmax).double()
    own = torch.nn.functional.one_hot(labels, exact.shape[1]).bool()
    moved = torch.where(own, SOFTMAX_TOLERANCE, -SOFTMAX_TOLERANCE)
    worst, best = (metrics.summary(labels, exact + sign * moved, exact + sign * moved) for sign in (-1, 1))
    for key in ("class_accuracy", "mean_class_accuracy", "average_precision", "mean_average_precision"):
        if "average" in key and Deviation.AP_FROM_LOGITS in protocol:
            # How far logits may be off is not known.
            continue
        ends = [torch.tensor(each[key]).double() for each in (worst, row, best)]
        if any((high - low).min() < -ROUNDING for low, high in pairwise(ends)):
            low, said, high = (each[key] for each in (worst, row, best))
            yield f"{place}: {key} is {said}; fitted again it is {low} to {high}"


def _score_differences(
    run: FinishedRun,
    setting: str,
    inputs: TrainingInputs,
    stored: Mapping[str, torch.Tensor],
    model: torch.nn.Module,
    features: Embedding,
    fitted: Scores,
) -> Iterator[str]:
    """A sentence where the saved head gives validation images other scores than the one that was fitted again."""
    layer, size = trained_part.last_layer(model, run.config.model), run.config.evaluation_batch_size
    name = trained_part.last_layer_name(model, run.config.model)
    layer.load_state_dict({key: stored[f"{name}.{key}"] for key in ("weight", "bias")})
    saved = head.scores_of_features(layer, features, inputs.validation, size, inputs.numerics)
    largest = float(abs(fitted.softmax - saved.softmax).max())
    # Not above: nan is a difference too.
    if not largest <= SOFTMAX_TOLERANCE:
        place = run.folder / names.of_setting(setting, names.BEST_WEIGHTS)
        yield f"{place}: scores of validation images are up to {largest:.2g} from those of the same fit, made again"
