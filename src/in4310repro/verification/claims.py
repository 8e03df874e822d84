"""What a verification proves of a run, and what it leaves as a claim: one list for its last lines and for the page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from in4310repro.config import FROM, LOOK_ALIKES
from in4310repro.data.comparison import DIGITS, PHOTOGRAPHS
from in4310repro.runs.finished import FinishedRun
from in4310repro.verification.heads import LOSS_TOLERANCE, SOFTMAX_PER_STRENGTH, SOFTMAX_TOLERANCE

REPLAY = "shown by verify --replay, for the epochs of the selected setting that it trains again"
ELSEWHERE = "shown by verify where the files are at hand"
IN_CLASS = "shown by verify in arithmetic of the run's numeric class"
NOT_SHOWN = "shown by nothing in a run"
TEST_METRICS = "every value of the test metrics"
GROUPS = "which images are copies of each other or look alike, and are held on one side of the split"
MATCHES = "every file matches the manifest; whoever changes a file can rewrite the manifest too"


@dataclass(frozen=True)
class Claim:
    """Something that a run says and that a verification does not compute again, and what would show it."""

    what: str
    shown_by: str


OF_EPOCHS = (
    Claim("training losses", REPLAY),
    Claim("validation rows and tensor hashes of epochs other than each setting's best", REPLAY),
    Claim(
        "the optimizer's settings: its kind, learning rate, weight decay, momentum, batch size, augmentation, schedule "
        "and warm-up",
        REPLAY,
    ),
    Claim("that every setting began from equal weights", REPLAY),
)
WITHIN_TOLERANCES = (
    f"losses within {LOSS_TOLERANCE:g}, scores within {SOFTMAX_PER_STRENGTH:g} times the strength and "
    f"{SOFTMAX_TOLERANCE:g}, metrics as far as these leave them open"
)
OF_FITS = (Claim("tensor hashes of fits other than the best", NOT_SHOWN),)
ALWAYS_CLAIMED = (
    Claim("images per second, processor, device, libraries and source", NOT_SHOWN),
    Claim("that no setting, no seed and no other run was left out", NOT_SHOWN),
)


def proven(
    run: FinishedRun,
    *,
    start: bool | None = None,
    bitwise: bool = True,
    fits_repeat: bool = False,
    open_precisions: bool = False,
    feature_tier: str = "",
) -> list[str]:
    """What a verification without a difference has computed again, from weights, images, seed and split.

    Args:
        run: finished.
        start: whether the weights that training began from were at hand; None: where they are drawn.
        bitwise: whether equal bits were required.
        fits_repeat: whether every fit of a head, made again, had the bits of the run's.
        open_precisions: whether close scores leave average precisions open.
        feature_tier: how far the feature maps were allowed to differ, as words after them.
    """
    start = run.config.weights == "none" if start is None else start
    listed = [
        "the split from the images and the seed",
        "every test score",
        TEST_METRICS if not open_precisions else f"{TEST_METRICS}, average precisions as far as close scores allow",
        "the validation metrics and tensor hashes of each setting's best epoch",
        "the selection",
    ]
    if start:
        listed.insert(1, f"the initial weights from {'the seed' if run.config.weights == 'none' else _weights(run)}")
    if start and bitwise and run.config.group == LOOK_ALIKES:
        listed.insert(1, GROUPS)
    if any(_fitted(run)):
        tier = "to the bit" if fits_repeat else WITHIN_TOLERANCES
        listed.append(f"every fit of the head ({tier}), and that nothing else has moved")
    if start and not run.config.protocol.starts_warm and any(_from_a_layer(run)):
        listed.append("that nothing has moved before the layer from which a setting trains")
    if start and run.features is not None:
        listed.append(f"the feature maps{feature_tier}")
    return listed


def claimed(
    run: FinishedRun,
    absent: Sequence[str] | None = None,
    *,
    start: bool | None = None,
    bitwise: bool = True,
    fits_repeat: bool = False,
) -> list[Claim]:
    """What a verification of the run leaves as a claim.

    Args:
        run: finished.
        absent: names of image sets that were not at hand; None: before that is known, all that no library ships.
        start: as in `proven`.
        bitwise: as in `proven`.
        fits_repeat: as in `proven`.
    """
    fitted = _fitted(run)
    listed = [
        *(() if all(fitted) else OF_EPOCHS),
        *(OF_FITS if any(fitted) and not fits_repeat else ()),
        *ALWAYS_CLAIMED,
    ]
    start = run.config.weights == "none" if start is None else start
    if not start:
        listed.append(Claim(f"that training began from {_weights(run)}", ELSEWHERE))
    if run.config.group == LOOK_ALIKES and not (start and bitwise):
        listed.append(Claim(GROUPS, ELSEWHERE))
    if run.features is not None and not start:
        listed.append(Claim("the feature maps, which are of the weights before training", ELSEWHERE))
    elif run.features is not None:
        names = [images["name"] for images in run.features["sets"][1:]] if absent is None else absent
        outside = [name for name in names if absent is not None or name not in (PHOTOGRAPHS, DIGITS)]
        listed += [Claim(f"the feature maps of {name}, whose folder is not at hand", ELSEWHERE) for name in outside]
    return listed


def by_what_shows_them(claims: Iterable[Claim]) -> dict[str, list[str]]:
    """The claims, put together by what would show them."""
    grouped: dict[str, list[str]] = {}
    for claim in claims:
        grouped.setdefault(claim.shown_by, []).append(claim.what)
    return grouped


def _fitted(run: FinishedRun) -> list[bool]:
    """Of each setting, whether it is a head that was fitted."""
    return [run.config.fits_head(setting) for setting in run.config.settings]


def _from_a_layer(run: FinishedRun) -> list[bool]:
    """Of each setting, whether it trains from a layer on."""
    return [run.config.trained_part(setting).startswith(FROM) for setting in run.config.settings]


def _weights(run: FinishedRun) -> str:
    return "the ImageNet weights" if run.config.weights == "imagenet" else "the weights of a file"
