"""The fits of a head, made again: all that a run says of them follows from its images, split and body."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from in4310repro import architectures, head, models, trained_part
from in4310repro.config import STRENGTHS
from in4310repro.data.images import ImageSet
from in4310repro.embedding import Embedding
from in4310repro.epochs import TrainingInputs
from in4310repro.numerics import Numerics
from in4310repro.progress import Progress
from in4310repro.runs import names
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.selection import best_epoch
from in4310repro.tensors import tensors_sha256

# Of another machine's fit: BLAS adds in another order, and L-BFGS ends near the minimum and not at it. On 12,034
# photographs fits for two processors differ by up to 3e-6 in the loss and 0.003 in a score.
LOSS_TOLERANCE = 1e-4
SOFTMAX_TOLERANCE = 0.03


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
            if row["epoch"] == best:
                yield from _score_differences(run, setting, inputs, stored, model, features.validation)
            advance(1, "")


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
        moved = [n for n in stored if n not in names_of_head and not torch.equal(stored[n], before[n])]
        place = run.folder / names.of_setting(setting, names.BEST_WEIGHTS)
        yield from (f"{place}: {name} is not that of the weights before training" for name in moved[:1])


def _score_differences(
    run: FinishedRun,
    setting: str,
    inputs: TrainingInputs,
    stored: Mapping[str, torch.Tensor],
    model: torch.nn.Module,
    features: Embedding,
) -> Iterator[str]:
    """A sentence where the saved head gives validation images other scores than the one that was fitted again."""
    layer, size = trained_part.last_layer(model, run.config.model), run.config.evaluation_batch_size
    name = trained_part.last_layer_name(model, run.config.model)
    fitted = head.scores_of_features(layer, features, inputs.validation, size, inputs.numerics)
    layer.load_state_dict({key: stored[f"{name}.{key}"] for key in ("weight", "bias")})
    saved = head.scores_of_features(layer, features, inputs.validation, size, inputs.numerics)
    largest = float(abs(fitted.softmax - saved.softmax).max())
    # Not above: nan is a difference too.
    if not largest <= SOFTMAX_TOLERANCE:
        place = run.folder / names.of_setting(setting, names.BEST_WEIGHTS)
        yield f"{place}: scores of validation images are up to {largest:.2g} from those of the same fit, made again"
