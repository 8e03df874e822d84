"""Options of a run, each with one declaration that files, command line, help, validation and hash chain read."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_type_hints

from in4310repro.data.class_folders import CLASS_FOLDERS
from in4310repro.data.preprocessing import (
    APPLIED,
    DECIDED_BY_WEIGHTS,
    INTERPOLATIONS,
    ORIENTATIONS,
    SIZES,
    Preprocessing,
)
from in4310repro.metrics.table import DEFAULT_SELECTION, SCALARS
from in4310repro.models.sources import ALL, FIVE_MODULES, HEAD, RESNETS, Network, open_network
from in4310repro.runs.deviations import CORRECTED, CORRECTED_PROTOCOL, PUBLISHED, UNSEEN, Deviation, Protocol
from in4310repro.system.numerics import MODES
from in4310repro.system.progress import SILENT, Progress
from in4310repro.system.text import did_you_mean

if TYPE_CHECKING:
    from in4310repro.data.folders import Entry
    from in4310repro.data.images import ImageSet
    from in4310repro.data.splits import Split

# Formats of config.json. With 3, tensors.json became a chain; with 4, weights say how images are prepared for them;
# with 5, the EXIF orientation is applied, which older runs ignored; with 6, hashes are over canonical JSON (RFC 8785),
# and pixels.json has the hash of every decoded image; with 7, no setting has a value that its optimizer does not use,
# and fingerprint.json has the hash of the file of the user's own network.
FORMAT, EVERY_VALUE_USED, CODE, CANONICAL, LAST_WITHOUT_ORIENTATION, WEIGHTS_SAY = 7, 7, 7, 6, 4, 4

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


@dataclass(frozen=True)
class Optimizer:
    """An optimizer: the tensors that it keeps, and whether it is portable and has a momentum."""

    state: Mapping[str, Kept]  # by its name in torch's state dict
    is_portable: bool = False  # `arithmetic` has a class of this name, whose step repeats to the bit elsewhere
    has_momentum: bool = False  # takes the setting's momentum, and keeps a state only where that is above 0

    def state_with(self, momentum: float) -> Mapping[str, Kept]:
        """Return a dict from the name of each tensor that the optimizer keeps for a parameter to its meaning.

        The dict is empty if the optimizer has a momentum and `momentum` is 0.
        """
        return {} if self.has_momentum and not momentum else self.state


_MOMENTS = {"step": Kept.COUNT, "exp_avg": Kept.VALUES, "exp_avg_sq": Kept.SQUARES}
# By the name of the class in torch.optim and, where it is portable, in `arithmetic`.
OPTIMIZERS = {
    "AdamW": Optimizer(_MOMENTS, is_portable=True),
    "RMSprop": Optimizer({"step": Kept.COUNT, "square_avg": Kept.SQUARES}, is_portable=True),
    "SGD": Optimizer({"momentum_buffer": Kept.VALUES}, is_portable=True, has_momentum=True),
    "Adam": Optimizer(_MOMENTS),
    "NAdam": Optimizer({"mu_product": Kept.FACTOR, **_MOMENTS}),
    "Adagrad": Optimizer({"step": Kept.COUNT, "sum": Kept.SQUARES}),
}


def obstacle(optimizer: str) -> str:
    """Return a clause that says that an optimizer cannot be used in portable arithmetic; empty if it can."""
    if optimizer not in OPTIMIZERS or OPTIMIZERS[optimizer].is_portable:
        return ""
    portable = ", ".join(name for name, each in OPTIMIZERS.items() if each.is_portable)
    return f"optimizer {optimizer} cannot be used in portable arithmetic, {portable} can"


# What a split holds on one side: files of equal bytes; or all copies, and look-alikes by the features of the weights.
IDENTICAL, LOOK_ALIKES = "identical", "look-alikes"
# Groups of options in `--help`.
IMAGES, TRAINING, MACHINE = "Images", "Network and training", "Machine"
PROTOCOLS = (CORRECTED, PUBLISHED, *Deviation)
LARGEST_COUNT = 2**63 - 1
# scikit-learn's C of a logistic regression, the inverse of its penalty, from strong to weak.
STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)


@dataclass(frozen=True)
class Option:
    """Help, range and other facts of an option of a run, which its declaration states beside its type and default."""

    text: str = ""  # help of the command line; without it, the option is only for files of `--config`
    group: str = ""  # of the help
    low: int = 0  # the lowest valid value
    high: int | None = None  # the highest one; the memory of this machine may allow less (see `capacity`)
    choices: tuple[str, ...] = ()  # all valid values
    examples: tuple[str, ...] = ()  # some of them, for the shell's completion
    hashed: bool = False  # by the start of the chain: for what affects the weights and is named nowhere else in it
    is_place: bool = False  # a path, of which only the last part is published; examples are none
    left_out: bool = False  # of files at its default: older versions read them, and older runs can continue
    kind: Any = None  # the annotated type

    @property
    def help(self) -> str:
        """Help of the command line, with the valid values where the text has `{choices}`."""
        return self.text.format(choices=join_choices(self.choices))


def option(default: Any, *said: Any, **facts: Any) -> Any:
    """Return a field of a record of options, with its default and with attributes of its `Option`."""
    return field(default=default, metadata={"option": Option(*said, **facts)})


def options_of(record: type) -> dict[str, Option]:
    """Return what is declared about each field of a record of options, by name."""
    kinds = get_type_hints(record)
    return {each.name: replace(each.metadata.get("option", Option()), kind=kinds[each.name]) for each in fields(record)}


def join_choices(choices: Sequence[str]) -> str:
    """Return the valid values of an option as a phrase: `a, b or c`."""
    return " or ".join(filter(None, (", ".join(choices[:-1]), *choices[-1:])))


@dataclass(frozen=True, kw_only=True)
class OptimizerSetting:
    """A setting (one optimizer's training): an optimizer, its learning rates and the part of the network it trains."""

    name: str
    optimizer: str = option(MISSING, choices=(*OPTIMIZERS, FITS_HEAD))
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    momentum: float = 0.0  # of an optimizer that has one
    train: str | None = None  # as the configuration's; None: that one
    head_learning_rate: float | None = None  # of the head, the weights that depend on the classes; None: as the rest


@dataclass(frozen=True, kw_only=True)
class Config:
    """All options that change a run's results. Each is declared here alone; files name them in this order."""

    preset: str
    format: int = FORMAT  # of the run's files; no option, since an older run keeps its own
    # None draws the embedded scenes.
    data: str | None = option(None, "Folder of class folders; default: the embedded scenes.", IMAGES, is_place=True)
    class_folders: str | None = option(
        None,
        "Which folders around an image name its class: {choices}; default: found by names and places.",
        IMAGES,
        choices=CLASS_FOLDERS,
        left_out=True,
    )
    scenes: int = option(0, "Embedded scenes of each class.", IMAGES, high=10**7)
    model: str = option(
        "resnet18",
        "A network of torchvision (see modules --list), timm:NAME, or MODULE:FUNCTION of your own.",
        TRAINING,
        examples=RESNETS,
        hashed=True,
    )
    weights: str = option(
        "none", "none, imagenet or a .safetensors or .pth file.", TRAINING, examples=("none", "imagenet"), is_place=True
    )
    train: str = option(
        ALL, "What to train: head (fitted), all, or from:LAYER (with later layers).", TRAINING, examples=(HEAD, ALL)
    )
    image_size: int = option(224, "Side of the square input, pixels.", IMAGES, *SIZES, hashed=True)
    # How images are prepared (see `preprocessing`); None until a training has asked the weights.
    mean: tuple[float, ...] | None = option(
        Preprocessing.mean, "Mean of red, green and blue, such as 0.5,0.5,0.5; default: from the weights.", IMAGES
    )
    std: tuple[float, ...] | None = option(
        Preprocessing.std, "Standard deviation of red, green and blue; default: from the weights.", IMAGES
    )
    interpolation: str | None = option(
        Preprocessing.interpolation,
        "Method of resizing: {choices}; default: from the weights, or bilinear.",
        IMAGES,
        choices=INTERPOLATIONS,
    )
    crop_ratio: float | None = option(
        Preprocessing.crop_ratio, "Side of the cropped square, as a share of the short side.", IMAGES
    )
    orientation: str = option(APPLIED, choices=ORIENTATIONS)  # of pictures that have one in their EXIF
    batch_size: int = option(16, "Images per training step.", TRAINING, 2, 2**20, hashed=True)
    evaluation_batch_size: int = option(64, low=1, high=2**20)
    epochs: int = option(20, "Epochs of each setting.", TRAINING, 1, 10**6, hashed=True)
    split: str = option(
        "12034/2000/3000", "Sizes training/validation/test, counts or shares; with --data: the preset's shares.", IMAGES
    )
    # Images that are in one part of the split.
    group: str = option(
        IDENTICAL,
        "Images kept in one part of the split: identical (files), or look-alikes (with copies of any kind).",
        IMAGES,
        choices=(IDENTICAL, LOOK_ALIKES),
    )
    seed: int = option(
        0, "Seed of split, initial weights, image order and augmentation.", TRAINING, high=LARGEST_COUNT, hashed=True
    )
    device: str = option("auto", "Device: auto, cpu or cuda.", MACHINE, examples=("auto", "cpu", "cuda"))
    numerics: str = option("auto", "Arithmetic: {choices}.", MACHINE, choices=MODES)
    precision: Literal["fast", "exact"] = option(
        "exact", "Precision of feature statistics: {choices}.", MACHINE, choices=("fast", "exact")
    )
    protocol: Protocol = option(  # noqa: RUF009 - its default is a frozen set
        CORRECTED_PROTOCOL, "corrected, published, or deviations joined by commas.", TRAINING, examples=PROTOCOLS
    )
    augmentation: str = option("flip", choices=("none", "flip", "flip-shift"), hashed=True)
    schedule: str = option("constant", choices=("constant", "cosine"), hashed=True)
    warm_up: float = option(0.0, hashed=True)  # share of the steps
    # The metric on validation that chooses epoch and setting.
    select: str = option(
        DEFAULT_SELECTION,
        "Metric on validation that chooses epoch and setting: {choices}.",
        TRAINING,
        choices=tuple(SCALARS),
        left_out=True,
    )
    checkpoint_steps: int = option(200, high=LARGEST_COUNT)  # between those within an epoch; 0: only at ends of epochs
    settings: tuple[OptimizerSetting, ...] = ()
    modules: tuple[str, ...] = FIVE_MODULES
    feature_images: int = option(200, low=2, high=10**7)  # of each sample
    # Without a folder: photographs and digits that scikit-learn ships.
    imagenet: str | None = option(None, "Folder of ImageNet images to compare with.", IMAGES, is_place=True)
    cifar10: str | None = option(None, "Folder of CIFAR-10 images to compare with.", IMAGES, is_place=True)

    @property
    def written_format(self) -> int:
        """Number of the format of the run's files. Without EXIF orientation it is an older one."""
        return self.format if self.orientation == APPLIED else min(self.format, LAST_WITHOUT_ORIENTATION)

    @property
    def is_canonical(self) -> bool:
        """True if the run's hashes are over canonical JSON, and it records the hash of every decoded image."""
        return self.written_format >= CANONICAL

    @property
    def records_code(self) -> bool:
        """True if the run records the hash of the file of the user's own network."""
        return self.written_format >= CODE

    @property
    def network(self) -> Network:
        """The network that the option `model` names."""
        return open_network(self.model)

    @property
    def preprocessing(self) -> Preprocessing:
        """Preprocessing of the images. Options that are still None count as their default values.

        Such options are None only until the weights are read, because these decide the preprocessing.
        """
        given = {name: value for name in DECIDED_BY_WEIGHTS if (value := getattr(self, name)) is not None}
        return Preprocessing(**given, size=self.image_size, orientation=self.orientation)

    def load(
        self, name: str, root: Path, entries: Sequence[Entry], progress: Progress = SILENT, *, cache: bool = True
    ) -> ImageSet:
        """Decode images as this configuration prepares them; see `data.images.load_images`."""
        # Imported here, since configurations are also read without PyTorch.
        from in4310repro.data.images import load_images

        how = self.preprocessing
        return load_images(name, root, entries, how.size, preprocessing=how, cache=cache, progress=progress)

    def load_part(self, split: Split, part: str, progress: Progress = SILENT, *, cache: bool = True) -> ImageSet:
        """Decode the images of a part of a split as a run of this configuration uses it, or those that are `UNSEEN`."""
        read_as = self.protocol.part_read_as(part)
        parts = ("training", "validation") if part == UNSEEN else (read_as,)
        entries = [entry for each in parts for entry in split.parts[each]]
        return self.load(read_as, split.root, entries, progress, cache=cache)

    def optimizer_obstacle(self) -> str:
        """Return a clause about the first optimizer that portable arithmetic does not support; empty if none."""
        return next(filter(None, (obstacle(each.optimizer) for each in self.settings)), "")

    def setting(self, name: str) -> OptimizerSetting:
        """Return the optimizer setting with this name, which must exist."""
        return next(each for each in self.settings if each.name == name)

    def trained_part(self, setting: OptimizerSetting) -> str:
        """Return the part of the network that a setting trains: `head`, `all` or `from:LAYER`."""
        return setting.train or self.train

    def fits_head(self, setting: OptimizerSetting) -> bool:
        """Return whether a setting only fits the last layer, without epochs of training."""
        return self.trained_part(setting) == HEAD

    def setting_before(self, setting: OptimizerSetting) -> str | None:
        """Return the name of the setting whose final weights `setting` starts from; None for the initial weights."""
        position = self.settings.index(setting)
        return self.settings[position - 1].name if position and self.protocol.starts_warm else None


OPTIONS = options_of(Config)
# The valid values of every option that takes one of a few, those of commands about other things included.
CHOICES = {
    **{name: each.choices for name, each in (OPTIONS | options_of(OptimizerSetting)).items() if each.choices},
    "samples": ("images", "positions", "flat", "none"),
    "calls": ("pool", "keep"),
    "log_steps": ("csv", "tensorboard"),
}


def unused_values(setting: OptimizerSetting) -> dict[str, list[str]]:
    """Return the optimizers that use a value, by the name of each value that the setting's own does not use.

    Values that have their default are left out. The fit of a head uses none.
    """
    with_momentum = [name for name, each in OPTIMIZERS.items() if each.has_momentum]
    users = {"learning_rate": [*OPTIMIZERS], "weight_decay": [*OPTIMIZERS], "momentum": with_momentum}
    return {
        name: every
        for name, every in users.items()
        if setting.optimizer not in every and getattr(setting, name) != getattr(OptimizerSetting, name)
    }


def check_choice(name: str, value: str) -> str:
    """Return the value after checking that it is valid for the option `name`.

    Raises:
        ValueError: the value is not one of the option's valid values.
    """
    if value not in CHOICES[name]:
        raise ValueError(
            f"{name} is {value!r}; it must be one of {', '.join(CHOICES[name])}{did_you_mean(value, CHOICES[name])}"
        )
    return value
