"""Statements on feature maps that can fail, each tried on every module or convolution of every network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from studies.feature_maps.changes import PRINTED_SHARE
from studies.feature_maps.images import CIFAR, IMAGENET, ONE_CLASS, REDUCED, SCENES, THREE, TRAINED_ON
from studies.feature_maps.networks import LITE_PROJECTIONS
from studies.feature_maps.spectra import differ

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


def ways(network: Network, name: str) -> dict[str, float]:
    """Return how far reducing a set to 32 px moves its effective rank to CIFAR-10's: 0 not at all, 1 onto it.

    By module, of those in which the two differ.
    """
    found = {}
    for module in modules_of(network):
        before, after, goal = (
            number(network, images, module, "effective_rank") for images in (name, REDUCED[name], CIFAR)
        )
        if differ(before, goal):
            found[module] = (after[0] - before[0]) / (goal[0] - before[0])
    return found


def difference_halves(name: str) -> Callable[[Network], Iterator[bool]]:
    """Try whether reducing a set to 32 px leaves at most half of its difference to CIFAR-10, on either side."""

    def trials(network: Network) -> Iterator[bool]:
        for way in ways(network, name).values():
            yield abs(1 - way) <= 0.5

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
    """Try whether a share is more than 3 points higher in the last module than in the first."""

    def trials(network: Network) -> Iterator[bool]:
        for name in sets_of(network):
            first, *_, last = (number(network, name, module, quantity)[0] for module in modules_of(network))
            yield last > first + NEAR

    return trials


def last_cuts_more(network: Network) -> Iterator[bool]:
    """Try the same after batch norm, of the modules that `last_is_above_first` compares."""
    shares = [changed["after batch norm"] for changed in in_depth(network).values()]
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
        if abs(changed["as it is"] - 0.5) > NEAR:
            yield (changed["mean weight"] > 0) == (changed["as it is"] < 0.5)


def outputs_move_freely(network: Network) -> Iterator[bool]:
    if moved := network["signs"].get("moved", {}).get("as printed"):
        *_, share = (moved["shares"][name] for name in network["signs"]["changes"])
        yield moved["same class"] == moved["images"] and share >= PRINTED_SHARE


MODULE, IMAGE_SET, CONVOLUTION, NETWORK = (
    "network and module",
    "network and image set",
    "network and convolution",
    "network",
)
# Those that the page quotes by name.
DIFFERS = Statement("The effective ranks of scenes and CIFAR-10 differ", MODULE, rank_differs(SCENES, CIFAR))
RISES = Statement("The effective rank rises from each module to the next", IMAGE_SET, rises("effective_rank"))
MORE_BELOW = Statement(
    "It is higher in the last module than in the first", IMAGE_SET, last_is_above_first("non_positive")
)
CUT = Statement(
    "After batch norm, on scenes, it is higher in the last module than in the first", NETWORK, last_cuts_more
)
INPUT_NEARER = Statement("With its input centred, it is nearer to 50 %", CONVOLUTION, nearer("its input centred"))
WEIGHTS_NEARER = Statement(
    "With each channel's weights centred, it is nearer to 50 %", CONVOLUTION, nearer("its weights centred")
)
FREE = Statement(
    "Outputs can be moved to the printed 74.3 % or more with every image in the same class",
    NETWORK,
    outputs_move_freely,
)
OF_SPECTRA = (
    DIFFERS,
    Statement("Those of scenes and ImageNet differ", MODULE, rank_differs(SCENES, IMAGENET)),
    Statement("Those of ImageNet and CIFAR-10 differ", MODULE, rank_differs(IMAGENET, CIFAR)),
    Statement(
        "Where ImageNet and CIFAR-10 differ, half of the difference or less is left with ImageNet through 32 px",
        MODULE,
        difference_halves(IMAGENET),
    ),
    Statement(
        "Where scenes and CIFAR-10 differ, half of the difference or less is left with scenes through 32 px",
        MODULE,
        difference_halves(SCENES),
    ),
    Statement("Each class of scenes has a lower effective rank than six classes", MODULE, one_class_is_lower),
    Statement("Scenes of its training have a larger total variance than others", MODULE, trained_on_varies_more),
    RISES,
    Statement(
        "The share of the first eigenvalue falls from each module to the next", IMAGE_SET, rises("first_share", -1)
    ),
)
OF_SHARES = (
    Statement("The share of values <= 0 rises from each module to the next", IMAGE_SET, rises("non_positive")),
    MORE_BELOW,
    CUT,
)
OF_CAUSES = (
    Statement(
        "Normal distributions with each channel's mean and deviation give the share within 3 points",
        CONVOLUTION,
        channels_suffice,
    ),
    Statement(
        "The layer's mean weight is positive where the share is below 50 %, else negative",
        CONVOLUTION,
        mean_weight_tells_the_side,
    ),
    Statement("With its input centred, the share is within 3 points of 50 %", CONVOLUTION, near("its input centred")),
    INPUT_NEARER,
    WEIGHTS_NEARER,
    Statement("With its initial weights, it is within 3 points of 50 %", CONVOLUTION, near("its initial weights")),
    Statement("Without the ReLU before it, it is nearer to 50 %", CONVOLUTION, nearer("no ReLU before it")),
    Statement(
        "With the biases of the batch norms before it set to 0, it is nearer to 50 %",
        CONVOLUTION,
        nearer("batch norm's bias 0 before it"),
    ),
    FREE,
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


def in_depth(network: Network) -> dict[str, Mapping[str, float]]:
    """Return the changes of the five modules, by name, without those of other convolutions."""
    changed = network["signs"]["changes"]
    return {name: changed[name] for name in changed if name not in LITE_PROJECTIONS}


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
