"""Check of fitted heads (last layers): each fit is repeated from the images, the split and the untrained layers."""

from collections.abc import Container, Iterator, Mapping
from itertools import islice

import torch

from in4310repro.data.images import ImageSet
from in4310repro.evaluation.embedding import Embedding, embed
from in4310repro.metrics import METRICS, SCALARS, Tolerance, ends
from in4310repro.metrics.scores import Scores
from in4310repro.models import building, sources
from in4310repro.runs import deviations, names, settings
from in4310repro.runs.records import HistoryRow
from in4310repro.system import schema
from in4310repro.system.tensors import tensors_sha256
from in4310repro.training import epochs, head
from in4310repro.verification import records
from in4310repro.verification.evidence import Finding, Note, SettingEvidence, draws_head

# Of another machine's fit: BLAS adds in another order, and L-BFGS ends near the minimum and not at it. With OpenBLAS's
# kernels for five processors, on 1,272 photographs, scores of any part differ by up to 5e-8 at strength 0.001, 2e-5 at
# 0.003, 6e-5 at 0.01, 7e-4 at 0.03, 4e-4 at 0.1, 0.002 at 0.3 and 0.01 at 1; on 12,034 by up to 0.003, losses by 3e-6.
LOSSES, LOSS_TOLERANCE = ("train_loss", "val_loss"), 1e-4
SOFTMAX_TOLERANCE = 0.03  # at most
SOFTMAX_PER_STRENGTH = 0.1
# A fit ends if no derivative exceeds `head.TOLERANCE`; recomputed, they were up to 1.02e-6, in float32 and with
# features of another numeric class. Factor on the larger of that limit and the derivative of the repeated fit.
DERIVATIVE_FACTOR = 4


def score_tolerance(strength: float) -> float:
    """Return the largest allowed difference between scores of the same fit on two machines.

    It grows with `strength`, up to a maximum. A larger `strength` means a weaker penalty (see `fit_head`).
    """
    return min(SOFTMAX_TOLERANCE, SOFTMAX_PER_STRENGTH * strength)


def fit_differences(setting: SettingEvidence) -> Iterator[Finding]:
    """Fit the head (last layer) of a setting again, and yield the differences and notes.

    Yield none for a setting whose head was not fitted.

    Raises:
        ValueError: the network does not end in one linear layer, or this machine cannot hold the features.
    """
    if setting.run.config.fits_head(setting.setting):
        yield from body_findings(setting)
        yield from repeated_fits(setting)


def repeated_fits(setting: SettingEvidence) -> Iterator[Finding]:
    """Repeat each fit of a setting's head, and yield messages on records that contradict it.

    On a different processor, a repeated fit may give weights with different bits. This is no contradiction, but a
    note reports it.
    """
    evidence, other_bits = setting.evidence, []
    inputs = epochs.TrainingInputs(
        # A network of its own, whose last layer is replaced.
        model=setting.load_network(),
        **{part: evidence.images(part) for part in ("training", "validation")},
        config=evidence.run.config,
        setting=setting.setting,
        context=evidence.context,
    )
    features = head.features_of(inputs, inputs.model, cache=False)
    with inputs.context.progress.task(f"fits of {setting.name}", len(settings.STRENGTHS)) as advance:
        for row, strength in zip(setting.run.histories[setting.name], settings.STRENGTHS, strict=True):
            again = head.fit_row(inputs, inputs.model, features, row["epoch"], strength)
            place = f"{setting.file(names.HISTORY)}: fit {row['epoch']}"
            best = row["epoch"] == setting.best_row["epoch"]
            equal = {row["weights_sha256"], *([tensors_sha256(setting.stored)] * best)} == {again["weights_sha256"]}
            exact = equal and evidence.bitwise
            compared = (*LOSSES, *METRICS) if exact else LOSSES
            rules: dict[str, schema.Limits] = {key: None for key in (*row, *again) if key not in compared}
            if not exact:
                losses = {"train_loss": again["train_loss"], "val_loss": again["val_loss"]}
                rules |= {key: records.around(loss, LOSS_TOLERANCE * max(1, loss)) for key, loss in losses.items()}
            yield from records.contradictions(place, row, again, rules)
            if not exact:
                fitted = _scores(inputs, features.validation, inputs.validation)
                yield from metric_differences(place, row, fitted, inputs.config.protocol)
            if not equal and best:
                yield from _saved_head_differences(setting, inputs, features, strength)
            elif not equal:
                other_bits.append(f"{row['epoch']}")
            advance(1, "")
    if other_bits:
        words = f"fitted again, fit {', '.join(other_bits)} has other bits, as on another processor"
        yield Note(f"setting {setting.name}: {words}")


def _scores(inputs: epochs.TrainingInputs, features: Embedding, images: ImageSet) -> Scores:
    """Return the scores given by the network's current head."""
    (_, layer), size = building.last_layer(inputs.model, inputs.config.network), inputs.config.evaluation_batch_size
    return head.scores_of_features(layer, features, images, size, inputs.context.numerics)


def _saved_head_differences(
    setting: SettingEvidence, inputs: epochs.TrainingInputs, features: head.Features, strength: float
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
    size, ranks_logits = config.evaluation_batch_size, config.protocol.ranks_logits
    test = embed(inputs.model, config.network, images, size, inputs.context, cache=False)
    parts = {"training": (features.training, inputs.training), "validation": (features.validation, inputs.validation)}
    parts["test"] = test, images

    def measure() -> tuple[dict[str, Scores], float]:
        """Return the scores by the current head, and the largest derivative of its penalised loss."""
        _, layer = building.last_layer(inputs.model, config.network)
        now = head.Head(*(each.detach().cpu() for each in (layer.weight, layer.bias)))
        slope = head.largest_derivative(now, features.training, inputs.training.labels, strength)
        return {name: _scores(inputs, *part) for name, part in parts.items()}, slope

    fitted, slope = measure()
    inputs.model.load_state_dict(setting.stored)
    saved, saved_slope = measure()
    allowed, tolerance = DERIVATIVE_FACTOR * max(head.TOLERANCE, slope), score_tolerance(strength)
    # Not above: nan is a difference too.
    if not saved_slope <= allowed:
        changes = f"changes by {saved_slope:.2g} along one of its weights"
        least = f"a fit of strength {strength:g} leaves at most {allowed:.2g}"
        yield f"{place}: the head is not the minimum of its penalised loss, which {changes}; {least}"
    for name in parts:
        largest = float(abs(fitted[name].softmax - saved[name].softmax).max())
        if not largest <= tolerance:
            again = f"those of the same fit, made again; {tolerance:g} is allowed at strength {strength:g}"
            yield f"{place}: scores of {name} images differ by up to {largest:.2g} from {again}"
    then, now = ({**each["test"].metrics(by_logits=ranks_logits)} for each in (saved, fitted))
    listed = ", ".join(f"{each.label} {then[name]:.4f} and {now[name]:.4f}" for name, each in SCALARS.items())
    changed = (saved["test"].softmax.argmax(axis=1) != fitted["test"].softmax.argmax(axis=1)).sum()
    of_both = f"test images by the saved head and by that one: {listed}, {changed} predictions differ"
    yield Note(f"{place}: the head fitted again has other bits, as on another processor; {of_both}")


def frozen_differences(setting: SettingEvidence) -> Iterator[str]:
    """Yield a message if a frozen tensor has changed, in a setting that trains only the last layers.

    It is compared with the weights from which the setting began: those before training, or the last ones of the
    setting before. Nothing is compared if the former are unavailable.
    """
    evidence, run = setting.evidence, setting.run
    part, previous = run.config.trained_part(setting.setting), run.config.setting_before(setting.setting)
    if not part.startswith(sources.FROM) or not (previous or evidence.start_at_hand):
        return
    model = evidence.drawn_network if previous else evidence.initial_network
    frozen = {*building.frozen_modules(model, part)}
    modules = dict(model.named_modules())
    still = {name for name in setting.stored if modules.get(name.rpartition(".")[0]) in frozen}
    last = names.of_setting(previous or "", names.LAST_WEIGHTS)
    yield from _moved_tensors(setting, still, run.files.read_tensors(last) if previous else model.state_dict())


def _moved_tensors(
    setting: SettingEvidence, still: Container[str], before: Mapping[str, torch.Tensor]
) -> Iterator[str]:
    """Yield a message on the first tensor named in `still` that differs from its value before training."""
    # In the order of the network, since that of a file that was read changes from time to time.
    ordered = (name for name in setting.evidence.drawn_network.state_dict() if name in still)
    for name in islice((each for each in ordered if not torch.equal(setting.stored[each], before[each])), 1):
        yield f"{setting.file(names.BEST_WEIGHTS)}: {name} is not that of the weights before training"


def body_findings(setting: SettingEvidence) -> Iterator[Finding]:
    """Yield a message for the first tensor outside the head (last layer) that differs from the initial weights.

    Without these weights their recorded hash decides, if the head was drawn: then it is that of the stored tensors
    with the drawn head. A head that may have been read with the weights leaves a claim.
    """
    evidence, run = setting.evidence, setting.run
    names_of_head, drawn = run.config.network.head(), evidence.drawn_network.state_dict()
    before = {name: drawn[name] if name in names_of_head else value for name, value in setting.stored.items()}
    found, recorded = tensors_sha256(before), run.fingerprint.get("initial_weights_sha256")
    if found == recorded:
        return
    if evidence.start_at_hand:
        # If the weights file has the same number of classes, even the head was read from it.
        initial = evidence.initial_network.state_dict()
        yield from _moved_tensors(setting, setting.stored.keys() - names_of_head, initial)
    elif draws_head(run):
        then = f"which are those with the head that seed {run.config.seed} draws, have sha256 {found}"
        said = f"initial_weights_sha256 in {names.FINGERPRINT} is {recorded}"
        yield f"{setting.file(names.BEST_WEIGHTS)}: its tensors before training, {then}; {said}"
    else:
        evidence.bodies_compared = False


def metric_differences(place: str, row: HistoryRow, scores: Scores, protocol: deviations.Protocol) -> Iterator[str]:
    """Yield a message for each recorded metric that is outside its allowed range.

    The range contains all values that the metric can take if no score changes by more than its tolerance.
    """
    labels, exact = torch.from_numpy(scores.labels), torch.from_numpy(scores.softmax).double()
    tolerance = score_tolerance(row["strength"])
    worst, best = ends(labels, exact - tolerance, exact + tolerance)
    for key, metric in METRICS.items():
        # An older run says nothing of some; and how far logits may be off is not known.
        if key in row and not (metric.tolerance is Tolerance.ORDER and protocol.ranks_logits):
            low, said, high = (each[key] for each in (worst, row, best))  # type: ignore[literal-required]
            if [*schema.differences(said, low, key, records.limits_of(key, worst, best))]:
                yield f"{place}: {key} is {said}; fitted again it is {low} to {high}"
