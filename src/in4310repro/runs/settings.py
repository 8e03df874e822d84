"""Groups of configuration options: for images, training, evaluation and feature maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from in4310repro.data.preprocessing import Preprocessing
from in4310repro.models.network import ALL, FROM, HEAD
from in4310repro.runs.deviations import CORRECTED_PROTOCOL, Protocol
from in4310repro.runs.optimizer_table import FITS_HEAD
from in4310repro.system.files import folder_name
from in4310repro.system.text import did_you_mean

# scikit-learn's C of a logistic regression, the inverse of its penalty, from strong to weak.
STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)


@dataclass(frozen=True, kw_only=True)
class OptimizerSetting:
    """A setting (one optimizer's training): an optimizer, its learning rates and the part of the network it trains."""

    name: str
    optimizer: str
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    momentum: float = 0.0  # SGD alone
    train: str | None = None  # as the configuration's; None: that one
    head_learning_rate: float | None = None  # of the head, the weights that depend on the classes; None: as the rest


@dataclass(frozen=True, kw_only=True)
class ImageSettings:
    """Options about images, their split and their preprocessing."""

    data: str | None  # folder of class folders; None draws the embedded scenes
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
        """Return whether a setting fits only the last layer, which is done without epochs."""
        return self.trained_part(setting) == HEAD

    def rows_of(self, setting: OptimizerSetting) -> int:
        """Return the number of rows in a setting's history: one per epoch, or per penalty strength of a fit."""
        return len(STRENGTHS) if self.fits_head(setting) else self.epochs

    def setting_before(self, setting: OptimizerSetting) -> str | None:
        """Return the setting whose last weights this one starts from; None if it starts from the initial ones."""
        return self.protocol.setting_before(setting.name, [each.name for each in self.settings])

    def check(self) -> None:
        """Check that each setting's name, numbers and trained part are valid.

        Raises:
            ValueError: the message names the setting, the invalid value and the valid values.
        """
        _check_names([setting.name for setting in self.settings])
        for setting in self.settings:
            _check_numbers(setting)
        for setting in self.settings:
            self._check_part(setting)

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
