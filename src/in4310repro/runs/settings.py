"""Options of a run and their valid values, in groups: images, training, evaluation and feature maps."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from in4310repro.data.class_folders import CLASS_FOLDERS
from in4310repro.data.preprocessing import INTERPOLATIONS, ORIENTATIONS, SIZES, Preprocessing
from in4310repro.metrics.table import SCALARS
from in4310repro.models.network import ALL, FROM, HEAD
from in4310repro.runs.deviations import CORRECTED_PROTOCOL, Protocol
from in4310repro.system.files import folder_name
from in4310repro.system.numerics import MODES
from in4310repro.system.text import did_you_mean

FITS_HEAD = "L-BFGS"  # of the last layer alone, which is fitted without steps of epochs


class Kept(enum.Enum):
    """Meaning of a float32 tensor that an optimizer keeps for each parameter."""

    COUNT = "the number of steps"
    FACTOR = "one number in [0, 1]"
    VALUES = "a number for each of the parameter's"
    SQUARES = "a number for each of the parameter's, none below 0"

    @property
    def has_shape_of_parameter(self) -> bool:
        """True if the tensor has the shape of its parameter; False if it is a single number."""
        return self in (Kept.VALUES, Kept.SQUARES)


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """An optimizer: its name, the tensors that it keeps, and whether it is portable and has a momentum."""

    name: str  # of the class in torch.optim and, where it is portable, in `arithmetic`
    state: Mapping[str, Kept]  # by its name in torch's state dict
    is_portable: bool = False  # `arithmetic` has a class of this name, whose step repeats to the bit elsewhere
    has_momentum: bool = False  # takes the setting's momentum, and keeps a state only where that is above 0

    def state_with(self, momentum: float) -> Mapping[str, Kept]:
        """Return a dict from the name of each tensor that the optimizer keeps for a parameter to its meaning.

        The dict is empty if the optimizer has a momentum and `momentum` is 0.
        """
        return {} if self.has_momentum and not momentum else self.state


_MOMENTS = {"exp_avg": Kept.VALUES, "exp_avg_sq": Kept.SQUARES}
OPTIMIZERS = {
    each.name: each
    for each in (
        Optimizer(name="AdamW", state={"step": Kept.COUNT, **_MOMENTS}, is_portable=True),
        Optimizer(name="RMSprop", state={"step": Kept.COUNT, "square_avg": Kept.SQUARES}, is_portable=True),
        Optimizer(name="SGD", state={"momentum_buffer": Kept.VALUES}, is_portable=True, has_momentum=True),
        Optimizer(name="Adam", state={"step": Kept.COUNT, **_MOMENTS}),
        Optimizer(name="NAdam", state={"step": Kept.COUNT, "mu_product": Kept.FACTOR, **_MOMENTS}),
        Optimizer(name="Adagrad", state={"step": Kept.COUNT, "sum": Kept.SQUARES}),
    )
}


def obstacle(optimizer: str) -> str:
    """Return a clause that says that an optimizer cannot be used in portable arithmetic; empty if it can."""
    if optimizer not in OPTIMIZERS or OPTIMIZERS[optimizer].is_portable:
        return ""
    portable = ", ".join(name for name, each in OPTIMIZERS.items() if each.is_portable)
    return f"optimizer {optimizer} cannot be used in portable arithmetic, {portable} can"


# What a split holds on one side: files of equal bytes; or all copies, and look-alikes by the features of the weights.
IDENTICAL, LOOK_ALIKES = "identical", "look-alikes"
# The valid values of every option that takes one of a few.
CHOICES: dict[str, tuple[str, ...]] = {
    "optimizer": (*OPTIMIZERS, FITS_HEAD),
    "class_folders": CLASS_FOLDERS,
    "group": (IDENTICAL, LOOK_ALIKES),
    "augmentation": ("none", "flip", "flip-shift"),
    "schedule": ("constant", "cosine"),
    "select": tuple(SCALARS),
    "interpolation": INTERPOLATIONS,
    "orientation": ORIENTATIONS,
    "numerics": MODES,
    "precision": ("fast", "exact"),
    "samples": ("images", "positions", "flat", "none"),
    "calls": ("pool", "keep"),
    "log_steps": ("csv", "tensorboard"),
}
# The lowest and the highest valid value; what this machine's memory allows may be less (see `capacity`).
RANGES = {
    "scenes": (0, 10**7),
    "image_size": SIZES,
    "batch_size": (2, 2**20),
    "evaluation_batch_size": (1, 2**20),
    "epochs": (1, 10**6),
    "seed": (0, 2**63 - 1),
    "checkpoint_steps": (0, 2**63 - 1),
    "feature_images": (2, 10**7),
}
# Settings that have no option of their own on the command line.
ONLY_IN_FILES = (
    "orientation",
    "evaluation_batch_size",
    "augmentation",
    "schedule",
    "warm_up",
    "checkpoint_steps",
    "settings",
    "modules",
    "feature_images",
)
# Lists whose entries are names.
LISTS_OF_NAMES = ("modules", "protocol")
# scikit-learn's C of a logistic regression, the inverse of its penalty, from strong to weak.
STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)


@dataclass(frozen=True, kw_only=True)
class OptimizerSetting:
    """A setting (one optimizer's training): an optimizer, its learning rates and the part of the network it trains."""

    name: str
    optimizer: str
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    momentum: float = 0.0  # of an optimizer that has one
    train: str | None = None  # as the configuration's; None: that one
    head_learning_rate: float | None = None  # of the head, the weights that depend on the classes; None: as the rest


def _users(name: str) -> list[str]:
    """Return the optimizers that use a value of a setting; the fit of a head uses none."""
    return [each.name for each in OPTIMIZERS.values() if name != "momentum" or each.has_momentum]


def unused_values(setting: OptimizerSetting) -> list[str]:
    """Return the names of a setting's values that its optimizer does not use, except those that have their default."""
    return [
        name
        for name in ("learning_rate", "weight_decay", "momentum")
        if setting.optimizer not in _users(name) and getattr(setting, name) != getattr(OptimizerSetting, name)
    ]


@dataclass(frozen=True, kw_only=True)
class ImageSettings:
    """Options about images, their split and their preprocessing."""

    data: str | None  # folder of class folders; None draws the embedded scenes
    class_folders: str | None  # which folders below data are the classes; None: as they tell
    scenes: int  # embedded scenes of each class
    image_size: int  # pixels
    preprocessing: Preprocessing
    split: str
    group: str  # images that are in one part of the split
    seed: int
    protocol: Protocol


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Options about training: the optimizer settings, the trained part of the network, and the epochs."""

    settings: tuple[OptimizerSetting, ...]
    train: str = ALL  # head, all, or from:LAYER: that layer and those after it
    epochs: int
    protocol: Protocol = CORRECTED_PROTOCOL

    def setting(self, name: str) -> OptimizerSetting:
        """Return the optimizer setting with this name, which must exist."""
        return next(each for each in self.settings if each.name == name)

    def trained_part(self, setting: OptimizerSetting) -> str:
        """Return the part of the network that a setting trains: `head`, `all` or `from:LAYER`."""
        return setting.train or self.train

    def fits_head(self, setting: OptimizerSetting) -> bool:
        """Return whether a setting only fits the last layer, without epochs of training."""
        return self.trained_part(setting) == HEAD

    def rows_of(self, setting: OptimizerSetting) -> int:
        """Return the number of rows in a setting's history: one per epoch, or one per fit of the last layer."""
        return len(STRENGTHS) if self.fits_head(setting) else self.epochs

    def setting_before(self, setting: OptimizerSetting) -> str | None:
        """Return the name of the setting whose final weights `setting` starts from; None for the initial weights."""
        return self.protocol.setting_before(setting.name, [each.name for each in self.settings])

    def check(self) -> None:
        """Raise ValueError if the name, a number or the trained part of an optimizer setting is invalid.

        Raises:
            ValueError: the message names the setting, the invalid value and the valid values.
        """
        _check_names([setting.name for setting in self.settings])
        for setting in self.settings:
            _check_numbers(setting)
        for setting in self.settings:
            self._check_part(setting)

    def refuse_unused_values(self) -> None:
        """Raise ValueError if a setting has a value that its optimizer does not use.

        `check` does not refuse it, since runs up to format 6 may have recorded one.
        """
        for setting in self.settings:
            for name in unused_values(setting):
                raise ValueError(
                    f"setting {setting.name}: {name} is {getattr(setting, name):g}, and {setting.optimizer} has none; "
                    f"leave it out, or take {' or '.join(_users(name))}, which has one"
                )

    def _check_part(self, setting: OptimizerSetting) -> None:
        """Raise ValueError if a setting's trained part is invalid or does not suit its optimizer or protocol."""
        part = self.trained_part(setting)
        if part not in (HEAD, ALL) and not (part.startswith(FROM) and part != FROM):
            near = did_you_mean(part, (HEAD, ALL))
            raise ValueError(f"train is {part!r}; {HEAD}, {ALL} and {FROM}LAYER are valid{near}")
        if (part == HEAD) != (setting.optimizer == FITS_HEAD):
            raise ValueError(
                f"setting {setting.name} trains {part} by {setting.optimizer}; L-BFGS fits a {HEAD}, and the other "
                f"optimizers train {ALL} or {FROM}LAYER"
            )
        if part == HEAD and setting.head_learning_rate is not None:
            raise ValueError(
                f"setting {setting.name} fits a head, whose learning rate would be {setting.head_learning_rate:g}; a "
                f"fit has none: leave head_learning_rate out, or train {ALL} or {FROM}LAYER"
            )
        if part == HEAD and (unfit := self.protocol.names_unfit_for_heads):
            raise ValueError(f"the fit of a head cannot have {', '.join(unfit)}; train {ALL} can")


def _check_names(names: list[str]) -> None:
    # In any case of letters, which some file systems do not tell apart.
    if not names or len({name.casefold() for name in names}) != len(names):
        raise ValueError(
            f"settings are named {names}; at least one is needed, each with a name of its own in any case of letters"
        )


def _check_numbers(setting: OptimizerSetting) -> None:
    folder_name(setting.name, "setting")
    rates = [rate for rate in (setting.learning_rate, setting.head_learning_rate) if rate is not None]
    if min(rates) <= 0 or setting.weight_decay < 0 or not 0 <= setting.momentum < 1:
        raise ValueError(
            f"{setting}: learning_rate > 0, head_learning_rate > 0, weight_decay >= 0 and 0 <= momentum < 1 are valid"
        )


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """Options about evaluating a network on images."""

    batch_size: int = 64  # images
    seed: int = 0
    protocol: Protocol = CORRECTED_PROTOCOL


@dataclass(frozen=True, kw_only=True)
class FeatureSettings:
    """Options about feature maps and the samples of images on which they are measured."""

    modules: tuple[str, ...]
    images: int  # of each sample
    precision: Literal["fast", "exact"]
    imagenet: str | None  # a folder; None: photographs that scikit-learn ships
    cifar10: str | None  # a folder; None: digits that scikit-learn ships
    image_size: int  # pixels
    preprocessing: Preprocessing
    batch_size: int  # images
    seed: int
    protocol: Protocol


def check_choice(name: str, value: str) -> str:
    """Return the value after checking that it is valid for the option `name`.

    Raises:
        ValueError: the value is not one of the option's valid values.
    """
    if value not in CHOICES[name]:
        near = did_you_mean(value, CHOICES[name])
        raise ValueError(f"no {name} {value!r}; valid are {', '.join(CHOICES[name])}{near}")
    return value
