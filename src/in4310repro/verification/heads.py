"""Check of fitted heads (last layers): each fit is repeated from the images, the split and the untrained layers."""

from collections.abc import Iterator

import torch

from in4310repro.evaluation.embedding import embed
from in4310repro.metrics import METRICS, SCALARS, Tolerance, ends
from in4310repro.metrics.scores import Scores
from in4310repro.models import building, sources
from in4310repro.runs import deviations, names, settings
from in4310repro.runs.record_types import SPEED, HistoryRow
from in4310repro.system import schema
from in4310repro.system.tensors import Tensors, tensors_sha256
from in4310repro.training import head, regression, training
from in4310repro.verification import results
from in4310repro.verification.evidence import Finding, Note, SettingEvidence, draws_head

# A fit on another machine differs: BLAS adds in another order, and L-BFGS ends near the minimum, not at it. With
# OpenBLAS's kernels for five processors, on 1,272 photographs, scores of any part differ by up to 5e-8 at strength
# 0.001, 2e-5 at 0.003, 6e-5 at 0.01, 7e-4 at 0.03, 4e-4 at 0.1, 0.002 at 0.3 and 0.01 at 1; on 12,034 photographs by
# up to 0.003, losses by 3e-6.
LOSS_TOLERANCE = 1e-4
SOFTMAX_TOLERANCE = 0.03  # at most
SOFTMAX_PER_STRENGTH = 0.1
# A fit ends if no derivative exceeds `regression.TOLERANCE`; recomputed, they were up to 1.02e-6, in float32 and with
# features of another numeric class. Factor on the larger of that limit and the derivative of the repeated fit.
DERIVATIVE_FACTOR = 4


def score_tolerance(strength: float) -> float:
    """Return the largest allowed difference between scores of the same fit on two machines.

    It grows with `strength`, up to a maximum. A larger `strength` means a weaker penalty (see `fit_head`).
    """
    return min(SOFTMAX_TOLERANCE, SOFTMAX_PER_STRENGTH * strength)


def fit_differences(setting: SettingEvidence) -> Iterator[Finding]:
    """Fit the head (last layer) of a setting again, and yield messages on records that contradict it, and notes.

    On a different processor, a repeated fit may give weights with different bits. This is not a contradiction, but a
    note reports it. Yield nothing for a setting whose head was not fitted.

    Raises:
        ValueError: the network does not end in one linear layer, or this machine cannot hold the features.
    """
    evidence, config, other_bits = setting.evidence, setting.run.config, []
    if not config.fits_head(setting.setting):
        return
    yield from body_findings(setting)
    inputs = training.TrainingInputs(
        # A network of its own, whose last layer is replaced.
        model=setting.load_network(),
        **{part: evidence.images(part) for part in ("training", "validation")},
        config=config,
        setting=setting.setting,
        context=evidence.context,
    )
    features = head.features_of(inputs, cache=False)
    with inputs.context.progress.task(f"fits of {setting.name}", len(settings.STRENGTHS)) as advance:
        for row, strength in zip(setting.run.histories[setting.name], settings.STRENGTHS, strict=True):
            again = head.fit_row(inputs, features, row["epoch"], strength)
            best = row["epoch"] == setting.best_row["epoch"]
            equal = {row["weights_sha256"], *([tensors_sha256(setting.stored)] * best)} == {again["weights_sha256"]}
            limits, compared = dict[str, schema.Limits](), {*row, *again} - {SPEED}
            if not (equal and evidence.bitwise):
                (_, layer), size = building.last_layer(inputs.model, config.network), config.evaluation_batch_size
                of_part = features.validation, inputs.validation
                fitted = head.scores_of_features(layer, *of_part, size, evidence.context.numerics)
                limits = results.loss_limits(again, LOSS_TOLERANCE) | metric_limits(row, fitted, config.protocol)
                compared = {path.partition(".")[0] for path in limits}
            saved, computed = ({key: value for key, value in each.items() if key in compared} for each in (row, again))
            yield from results.contradictions(
                f"{setting.file(names.HISTORY)}: fit {row['epoch']}", saved, computed, limits
            )
            evidence.fits_repeat &= equal
            if not equal and best:
                yield from _saved_head_differences(setting, inputs, features, strength)
            elif not equal:
                other_bits.append(f"{row['epoch']}")
            advance(1, "")
    if other_bits:
        words = f"fitted again, fit {', '.join(other_bits)} has other bits, as on another processor"
        yield Note(f"setting {setting.name}: {words}")


def _saved_head_differences(
    setting: SettingEvidence, inputs: training.TrainingInputs, features: head.Features, strength: float
) -> Iterator[Finding]:
    """Compare the saved head with the head of the repeated fit.

    When this function is called, the network must have the head of the repeated fit. Messages are yielded if the
    gradient or the scores differ too much, then a note that compares the test metrics.

    The same fit on another machine meets two conditions: the gradient of the penalised loss at the saved head is
    nearly zero, and scores of every part of the split are close. The first condition detects changes of the head
    that leave the scores of all training images equal, since the gradient of the penalty remains. The second
    limits changes along directions in which the loss is flat.
    """
    config, place, images = inputs.config, setting.file(names.BEST_WEIGHTS), setting.evidence.images("test")
    test = embed(inputs.model, config, images, inputs.context, cache=False)
    parts = {"training": (features.training, inputs.training), "validation": (features.validation, inputs.validation)}
    parts["test"] = test, images

    def measure() -> tuple[dict[str, Scores], float]:
        """Return the scores by the current head, and the largest derivative of its penalised loss."""
        _, layer = building.last_layer(inputs.model, config.network)
        now = head.Head(*(each.detach().cpu() for each in (layer.weight, layer.bias)))
        slope = head.largest_derivative(now, features.training, inputs.training.labels, strength)
        how = config.evaluation_batch_size, inputs.context.numerics
        return {name: head.scores_of_features(layer, *part, *how) for name, part in parts.items()}, slope

    fitted, slope = measure()
    inputs.model.load_state_dict(setting.stored)
    saved, saved_slope = measure()
    allowed, tolerance = DERIVATIVE_FACTOR * max(regression.TOLERANCE, slope), score_tolerance(strength)
    # Not above: nan is a difference too.
    if not saved_slope <= allowed:
        yield (
            f"{place}: the head is not the minimum of its penalised loss, which changes by {saved_slope:.2g} along one "
            f"of its weights; a fit of strength {strength:g} leaves at most {allowed:.2g}"
        )
    for name in parts:
        largest = float(abs(fitted[name].softmax - saved[name].softmax).max())
        if not largest <= tolerance:
            again = f"those of the same fit, made again; {tolerance:g} is allowed at strength {strength:g}"
            yield f"{place}: scores of {name} images differ by up to {largest:.2g} from {again}"
    then, now = ({**each["test"].metrics(by_logits=config.protocol.ranks_logits)} for each in (saved, fitted))
    listed = [f"{each.label} {then[name]:.4f} and {now[name]:.4f}" for name, each in SCALARS.items()]
    predicted, others = (each["test"].softmax.argmax(axis=1) for each in (saved, fitted))
    yield Note(
        f"{place}: the head fitted again has other bits, as on another processor; test images by the saved head and by "
        f"that one: {', '.join(listed)}, {(predicted != others).sum()} predictions differ"
    )


def frozen_differences(setting: SettingEvidence) -> Iterator[str]:
    """Yield a message if a frozen tensor has changed, in a setting that trains only the last layers.

    It is compared with the weights from which the setting began: those before training, or the last ones of the
    setting before. Nothing is compared if the former are unavailable.
    """
    evidence, config = setting.evidence, setting.run.config
    part, previous = config.trained_part(setting.setting), config.setting_before(setting.setting)
    if part.startswith(sources.FROM) and (previous or evidence.start_at_hand):
        model = evidence.drawn_network if previous else evidence.initial_network
        before, modules = model.state_dict(), dict(model.named_modules())
        frozen = {*building.frozen_modules(model, part)}
        still = [name for name in before if modules[name.rpartition(".")[0]] in frozen]
        if previous:
            before = setting.run.files.read_tensors(f"{previous}/{names.LAST_WEIGHTS}")
        yield from _moved_tensor(setting, still, before)


def _moved_tensor(setting: SettingEvidence, still: list[str], before: Tensors) -> Iterator[str]:
    """Yield a message on the first tensor named in `still` that differs from its value before training."""
    for name in still:
        if not torch.equal(setting.stored[name], before[name]):
            yield f"{setting.file(names.BEST_WEIGHTS)}: {name} is not that of the weights before training"
            return


def body_findings(setting: SettingEvidence) -> Iterator[str]:
    """Yield a message for the first tensor outside the head (last layer) that differs from the initial weights.

    Without these weights their recorded hash decides, if the head was drawn: then it is that of the stored tensors
    with the drawn head. A head that may have been read with the weights leaves a claim.
    """
    evidence, run = setting.evidence, setting.run
    of_head, drawn = building.head(run.config.network), evidence.drawn_network.state_dict()
    found = tensors_sha256({name: drawn[name] if name in of_head else setting.stored[name] for name in drawn})
    if found == (recorded := run.fingerprint.get("initial_weights_sha256")):
        return
    if evidence.start_at_hand:
        # If the weights file has the same number of classes, even the head was read from it.
        still = [name for name in drawn if name not in of_head]
        yield from _moved_tensor(setting, still, evidence.initial_network.state_dict())
    elif draws_head(run):
        then = f"which are those with the head that seed {run.config.seed} draws, have sha256 {found}"
        said = f"initial_weights_sha256 in {names.FINGERPRINT} is {recorded}"
        yield f"{setting.file(names.BEST_WEIGHTS)}: its tensors before training, {then}; {said}"
    else:
        evidence.bodies_compared = False


def metric_limits(row: HistoryRow, scores: Scores, protocol: deviations.Protocol) -> dict[str, schema.Limits]:
    """Return the limits of a fit's metrics, by their paths.

    They contain all values that a metric can take if no score changes by more than its tolerance.
    """
    labels, exact = torch.from_numpy(scores.labels), torch.from_numpy(scores.softmax).double()
    tolerance, limits = score_tolerance(row["strength"]), dict[str, schema.Limits]()
    worst, best = ends(labels, exact - tolerance, exact + tolerance)
    for name, metric in METRICS.items():
        # An older run says nothing of some; and how far logits may be off is not known.
        if name in row and not (metric.tolerance is Tolerance.ORDER and protocol.ranks_logits):
            limits |= results.limits_of(name, worst, best)
    return limits
