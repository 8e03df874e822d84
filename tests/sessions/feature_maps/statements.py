"""Statements on feature maps that can fail, each tried on every module or convolution of every network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from tests.sessions.feature_maps.changes import PRINTED_SHARE
from tests.sessions.feature_maps.images import CIFAR, IMAGENET, ONE_CLASS, REDUCED, SCENES, THREE, TRAINED_ON
from tests.sessions.feature_maps.spectra import differ

KINDS = {
    "imagenet": "EfficientNet-Lite0, ImageNet weights",
    "initial": "ResNet-18, before training",
    "trained": "ResNet-18, trained",
}
NEAR = 0.03  # of a share: what counts as equal
Network = Mapping[str, Any]


class Statement(NamedTuple):
    """A sentence, what it is tried on, and a function that gives the outcome of each trial in a network."""

    text: str
    each: str  # what one trial is made of
    trials: Callable[[Network], Iterator[bool]]


def rank_differs(first: str, second: str) -> Callable[[Network], Iterator[bool]]:
    def trials(network: Network) -> Iterator[bool]:
        for module in modules_of(network):
            yield bool(differ(*(number(network, name, module, "effective_rank") for name in (first, second))))

    return trials


def rank_moves(name: str) -> Callable[[Network], Iterator[bool]]:
    """Try whether reducing a set to 32 px moves its effective rank half of the way to CIFAR-10's, where they differ."""

    def trials(network: Network) -> Iterator[bool]:
        for module in modules_of(network):
            before, after, goal = (
                number(network, images, module, "effective_rank") for images in (name, REDUCED[name], CIFAR)
            )
            if differ(before, goal):
                yield (after[0] - before[0]) / (goal[0] - before[0]) >= 0.5

    return trials


def one_class_is_lower(network: Network) -> Iterator[bool]:
    for module in modules_of(network):
        ranks = [number(network, name, module, "effective_rank")[0] for name in classes_of(network)]
        yield max(ranks) < number(network, SCENES, module, "effective_rank")[0]


def trained_on_varies_more(network: Network) -> Iterator[bool]:
    for module in modules_of(network) if TRAINED_ON in network.get("sets", ()) else ():
        yield differ(*(number(network, name, module, "total_variance") for name in (SCENES, TRAINED_ON))) > 0


def rises(quantity: str, sign: int = 1) -> Callable[[Network], Iterator[bool]]:
    def trials(network: Network) -> Iterator[bool]:
        for name in sets_of(network):
            values = [sign * number(network, name, module, quantity)[0] for module in modules_of(network)]
            yield all(first < second for first, second in pairwise(values))

    return trials


def last_is_above_first(quantity: str) -> Callable[[Network], Iterator[bool]]:
    def trials(network: Network) -> Iterator[bool]:
        for name in sets_of(network):
            first, *_, last = modules_of(network)
            yield differ(*(number(network, name, module, quantity) for module in (first, last))) > 0

    return trials


def last_cuts_more(network: Network) -> Iterator[bool]:
    shares = [changed["after batch norm"] for changed in in_depth(network)]
    yield shares[-1] > shares[0] + NEAR


def nearer(change: str) -> Callable[[Network], Iterator[bool]]:
    """Try whether a change brings a share nearer to a half, of convolutions that are not near it already."""

    def trials(network: Network) -> Iterator[bool]:
        for changed in later_convolutions(network):
            if change in changed and abs(changed["as it is"] - 0.5) > NEAR:
                yield abs(changed[change] - 0.5) < abs(changed["as it is"] - 0.5)

    return trials


def near(change: str) -> Callable[[Network], Iterator[bool]]:
    def trials(network: Network) -> Iterator[bool]:
        for changed in later_convolutions(network):
            if change in changed:
                yield abs(changed[change] - 0.5) <= NEAR

    return trials


def channels_suffice(network: Network) -> Iterator[bool]:
    for changed in later_convolutions(network):
        yield abs(changed["from means and deviations"] - changed["as it is"]) <= NEAR


def mean_weight_tells_the_side(network: Network) -> Iterator[bool]:
    for changed in later_convolutions(network):
        if network["kind"] != "imagenet" and abs(changed["as it is"] - 0.5) > NEAR:
            yield (changed["mean weight"] > 0) == (changed["as it is"] < 0.5)


def outputs_move_freely(network: Network) -> Iterator[bool]:
    if moved := network["signs"].get("moved", {}).get("as printed"):
        *_, share = (moved["shares"][name] for name in network["signs"]["changes"])
        yield moved["same class"] == moved["images"] and share >= PRINTED_SHARE


OF_SPECTRA = (
    Statement("The effective ranks of scenes and CIFAR-10 differ", "module", rank_differs(SCENES, CIFAR)),
    Statement("Those of scenes and ImageNet differ", "module", rank_differs(SCENES, IMAGENET)),
    Statement("Those of ImageNet and CIFAR-10 differ", "module", rank_differs(IMAGENET, CIFAR)),
    Statement(
        "Where they differ, ImageNet through 32 px comes half of the way to CIFAR-10 or more",
        "module",
        rank_moves(IMAGENET),
    ),
    Statement("Where they differ, so do scenes through 32 px", "module", rank_moves(SCENES)),
    Statement("One class of scenes has a lower effective rank than six, whichever it is", "module", one_class_is_lower),
    Statement("Scenes that it was trained on vary more than others", "module", trained_on_varies_more),
    Statement("The effective rank rises from each module to the next", "image set", rises("effective_rank")),
    Statement(
        "The share of the first eigenvalue falls from each module to the next", "image set", rises("first_share", -1)
    ),
)
OF_SHARES = (
    Statement("The share of values <= 0 rises from each module to the next", "image set", rises("non_positive")),
    Statement("It is higher in the last module than in the first", "image set", last_is_above_first("non_positive")),
    Statement("After batch norm it is higher in the last module than in the first", "network", last_cuts_more),
)
OF_CAUSES = (
    Statement(
        "Mean and standard deviation of each channel, taken as normal, give the share", "convolution", channels_suffice
    ),
    Statement("The mean weight has the sign that the side of 50 % asks for", "convolution", mean_weight_tells_the_side),
    Statement("With its input centred, a convolution is near 50 %", "convolution", near("its input centred")),
    Statement("With its input centred, it is nearer to 50 %", "convolution", nearer("its input centred")),
    Statement("With its weights centred, it is nearer to 50 %", "convolution", nearer("its weights centred")),
    Statement("With its initial weights, it is near 50 %", "convolution", near("its initial weights")),
    Statement("Without the ReLU before it, it is nearer to 50 %", "convolution", nearer("no ReLU before it")),
    Statement(
        "With the bias of the batch norms before it set to 0, it is nearer to 50 %",
        "convolution",
        nearer("batch norm's bias 0 before it"),
    ),
    Statement(
        "Outputs can be moved to the printed 74.3 % or more with every image in the same class",
        "network",
        outputs_move_freely,
    ),
)


def number(network: Network, images: str, module: str, quantity: str) -> list[float]:
    value: list[float] = network["sets"][images][module][quantity]
    return value


def sets_of(network: Network) -> tuple[str, ...]:
    """Return the three image sets, or none if no spectra of the network were measured."""
    return THREE if "sets" in network else ()


def modules_of(network: Network) -> list[str]:
    return list(network["sets"][SCENES]) if "sets" in network else []


def classes_of(network: Network) -> list[str]:
    return [name for name in network["sets"] if name.startswith(ONE_CLASS)]


def in_depth(network: Network) -> list[Mapping[str, float]]:
    """Return the changes of the convolutions that are measured as modules, and of the last of all."""
    changed = network["signs"]["changes"]
    return [changed[name] for name in changed if not name.endswith("project.0")]


def later_convolutions(network: Network) -> list[Mapping[str, float]]:
    """Return the changes of all convolutions but the first, which reads the image."""
    return list(network["signs"]["changes"].values())[1:]


def try_statements(networks: Sequence[Network], statements: Sequence[Statement]) -> list[dict[str, Any]]:
    """Return a row for each statement: its text, and by kind of network the outcome and its verdict."""
    rows = []
    for text, each, trials in statements:
        outcomes: dict[str, list[bool]] = {kind: [] for kind in KINDS}
        for network in networks:
            outcomes[network["kind"]] += list(trials(network))
        rows.append({"text": text, "each": each, "outcomes": {kind: verdict(of) for kind, of in outcomes.items()}})
    return rows


def verdict(outcomes: Sequence[bool]) -> str:
    """Return how many of all trials hold, in words; "-" without trials."""
    if not outcomes:
        return "-"
    word = "holds" if all(outcomes) else "in part" if any(outcomes) else "**fails**"
    return f"{word}, {sum(outcomes)} of {len(outcomes)}"
