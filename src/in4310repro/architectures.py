"""Networks by name: torchvision's classification networks, timm's, and functions of one's own.

A name is torchvision's (`vgg16`) or `efficientnet_lite0`, `timm:` and timm's, or `module:function`, which is imported
and called with `num_classes=N`.
"""

from __future__ import annotations

import contextlib
import difflib
import fnmatch
import functools
import importlib
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
import torchvision
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from in4310repro import arithmetic, efficientnet, packages
from in4310repro.config import FIVE_MODULES, MODEL, MODELS
from in4310repro.preprocessing import INTERPOLATIONS, Preprocessing
from in4310repro.text import as_function

TIMM = "timm:"
# Heads that are trained beside the last one and that no score comes from: built without them.
AUXILIARY = {"googlenet": ("aux1.", "aux2."), "inception_v3": ("AuxLogits.",)}
# Modules whose weights are drawn by name; what others hold is what their network's constructor draws.
DRAWN = (nn.Conv2d, nn.Linear, nn.BatchNorm2d)
MODULES = 5  # whose feature maps are measured where none are named
# What a network may compute between its modules in portable arithmetic: nothing that adds in an order of torch's.
# fmt: off
EQUAL_EVERYWHERE = frozenset({
    "_to_copy", "_unsafe_view", "add", "add_", "alias", "as_strided", "cat", "chunk", "clone", "constant_pad_nd",
    "contiguous", "copy_", "detach", "empty", "empty_like", "empty_strided", "fill_", "flatten", "hardtanh",
    "hardtanh_", "lift_fresh", "narrow", "ones", "pad", "permute", "relu", "relu_", "reshape", "resolve_neg", "select",
    "set_", "slice", "split", "squeeze", "stack", "t", "to", "transpose", "unbind", "unsqueeze", "view", "zero_",
    "zeros", "zeros_like",
})
# fmt: on

_trusted: set[str] = set()


def known_names(pattern: str = "*") -> list[str]:
    """Torchvision's classification networks and ours whose name fits the pattern, in the order of the alphabet."""
    of_torchvision = torchvision.models.list_models(module=torchvision.models)
    return fnmatch.filter(sorted([*of_torchvision, efficientnet.NAME]), pattern)


def trust(name: str) -> None:
    """Allows the code of a `module:function`, since the user has named it."""
    _trusted.add(name)


def check_name(name: str) -> str:
    """The name itself.

    Raises:
        ValueError: no network has it, timm is not installed, or it is code that the user has not named.
    """
    if name.startswith(TIMM):
        _timm_names(name)
    elif ":" in name and re.fullmatch(MODEL, name):
        if name not in _trusted:
            raise ValueError(
                f"the network {name} is code, which is run only where you name it yourself: --model {name}"
            )
    elif name not in known_names():
        near = [as_function(name)] if as_function(name) else difflib.get_close_matches(name, known_names(), 1)
        raise ValueError(
            f"no model {name!r}; "
            + (f"did you mean {near[0]}? " if near else "")
            + f"valid are torchvision's networks (in4310repro modules --list), {efficientnet.NAME}, timm:NAME and "
            "MODULE:FUNCTION"
        )
    return name


def _timm_names(name: str) -> None:
    try:
        timm = importlib.import_module("timm")
    except ImportError:
        raise ValueError(f"the network {name} needs timm: {packages.install_command('timm')}") from None
    short = name.removeprefix(TIMM)
    if not timm.is_model(short):
        near = difflib.get_close_matches(short, timm.list_models(), 1)
        raise ValueError(
            f"timm {timm.__version__} has no model {short!r}" + (f"; did you mean {TIMM}{near[0]}?" if near else "")
        )


def construct(name: str, classes: int, seed: int = 0) -> nn.Module:
    """A network of float32, on the meta device where all that it holds is drawn by name, else on the CPU.

    What is not drawn by name (positions of a transformer, say) is what the constructor draws, from torch's generator
    seeded by `seed`; that generator is as it was afterwards.

    Raises:
        ValueError: no such network, code that the user has not named or that fails, or no network of so many classes.
    """
    check_name(name)
    # Constructors that compute with values cannot do so on the meta device.
    with contextlib.suppress(NotImplementedError):
        if ":" not in name:
            with torch.device("meta"):
                model = _known(name, classes)
            if all(isinstance(module, DRAWN) or not _holds_values(module) for module in model.modules()):
                return model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _called(name, classes) if ":" in name else _known(name, classes)


def _known(name: str, classes: int) -> nn.Module:
    if name == efficientnet.NAME:
        return efficientnet.lite0(classes)
    # ImageNet weights of these two networks were trained with another normalisation, which they undo.
    options = {"aux_logits": False, "init_weights": False, "transform_input": True} if name in AUXILIARY else {}
    model: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=classes, **options)
    return model


def _holds_values(module: nn.Module) -> bool:
    return any(True for values in (module.parameters(recurse=False), module.buffers(recurse=False)) for _ in values)


def _called(name: str, classes: int) -> nn.Module:
    """A network of timm or of one's own.

    Raises:
        ValueError: it cannot be imported or called, or it makes no network of float32 with so many scores.
    """
    if name.startswith(TIMM):
        model: object = importlib.import_module("timm").create_model(name.removeprefix(TIMM), num_classes=classes)
    else:
        model = _of_ones_own(name, classes)
    if not isinstance(model, nn.Module):
        raise ValueError(f"{name} returned {type(model).__name__}; a torch.nn.Module is valid")
    odd = [
        key for key, value in model.state_dict().items() if value.is_floating_point() and value.dtype != torch.float32
    ]
    if odd:
        raise ValueError(f"{name}: {odd[0]} is {model.state_dict()[odd[0]].dtype}; torch.float32 is valid")
    return model.cpu()


def _of_ones_own(name: str, classes: int) -> object:
    module, _, function = name.partition(":")
    # As python itself does with a file that it is given: a module beside which the command is typed is found.
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        called = getattr(importlib.import_module(module), function)
    except ImportError as error:
        near = as_function(name)
        meant = f"; did you mean {near}?" if near != name else ""
        raise ValueError(
            f"{name} cannot be imported: {error}; it is looked for in this folder and in Python's{meant}"
        ) from None
    except AttributeError:
        raise ValueError(
            f"{module} has no {function!r}; MODULE:FUNCTION names a function that returns a network"
        ) from None
    try:
        model: object = called(num_classes=classes)
    except Exception as error:
        raise ValueError(
            f"{name} failed when it was called with num_classes={classes}: {type(error).__name__}: {error}"
        ) from error
    return model


@functools.cache
def head(name: str) -> frozenset[str]:
    """Names of the weights whose shape depends on the number of classes: of two networks, which are built once."""
    first, second = (construct(name, classes).state_dict() for classes in (2, 3))
    return frozenset(key for key, value in first.items() if value.shape != second[key].shape)


def imagenet_weights(name: str) -> torchvision.models.WeightsEnum:
    """Torchvision's ImageNet weights of one of its networks: the first version, or the one there is."""
    if ":" in name:
        raise ValueError(f"{name} has no ImageNet weights of torchvision; --weights none or --weights FILE")
    enum = torchvision.models.get_model_weights(name)
    return getattr(enum, "IMAGENET1K_V1", enum.DEFAULT)


def imagenet_evaluation(name: str) -> Preprocessing:
    """How images are prepared where those who trained the ImageNet weights of a network evaluate them."""
    if name == efficientnet.NAME:
        return efficientnet.PREPROCESSING
    if name.startswith(TIMM):
        settings = importlib.import_module("timm").get_pretrained_cfg(name.removeprefix(TIMM))
        method = settings.interpolation if settings.interpolation in INTERPOLATIONS else "bicubic"
        ratio, side = settings.crop_pct or 1.0, settings.input_size[-1]
        mean, std = tuple(settings.mean), tuple(settings.std)
        return Preprocessing(mean=mean, std=std, interpolation=method, crop_ratio=ratio, size=side)
    transforms = imagenet_weights(name).transforms()
    (side,), (short,) = transforms.crop_size, transforms.resize_size
    return Preprocessing(
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
        interpolation=transforms.interpolation.value,
        crop_ratio=min(1.0, side / short),
        size=side,
    )


def imagenet_preprocessing(name: str) -> Preprocessing:
    """How images are prepared for the ImageNet weights of a network: as in their evaluation, but for the crop.

    That one is a habit among others, and this package's is the largest square.
    """
    return replace(imagenet_evaluation(name), crop_ratio=1.0)


def imagenet_top_1(name: str) -> float:
    """The top-1 accuracy of a network's ImageNet weights, in [0, 1], by those who trained them; 0 for timm's."""
    if name == efficientnet.NAME:
        return efficientnet.TOP_1
    if name.startswith(TIMM):
        return 0.0
    return float(imagenet_weights(name).meta["_metrics"]["ImageNet-1K"]["acc@1"]) / 100


@dataclass(frozen=True)
class Facts:
    """Of a known network: its parameters, the side of the smallest image, and its ImageNet weights."""

    parameters: int
    smallest: int
    weights: str


def facts(name: str) -> Facts:
    """What torchvision says of one of its networks, and we of ours."""
    if name == efficientnet.NAME:
        return Facts(efficientnet.PARAMETERS, efficientnet.SMALLEST, f"of {packages.EFFICIENTNET}")
    meta = torchvision.models.get_model_weights(name).DEFAULT.meta
    return Facts(meta["num_params"], max(meta["min_size"]), imagenet_weights(name).name)


@dataclass(frozen=True)
class Output:
    """What a module of a network returned: its name, its class, and the shape of the first tensor without images."""

    name: str
    kind: str
    shape: tuple[int, ...]


def outputs(model: nn.Module, name: str, side: int) -> list[Output]:
    """Outputs of all modules for one image, in the order in which the modules first end.

    Args:
        model: a network with weights, on the CPU.
        name: its name, for the error message.
        side: of the image, pixels.

    Raises:
        ValueError: it takes no images of that size.
    """
    found: dict[str, Output] = {}

    def note(module: nn.Module, given: object, key: str) -> None:
        first = given[0] if isinstance(given, list | tuple) and given else given
        if isinstance(first, Tensor):
            found.setdefault(key, Output(key, type(module).__name__, tuple(first.shape[1:])))

    handles = [
        module.register_forward_hook(lambda module, _inputs, given, key=key: note(module, given, key))
        for key, module in model.named_modules()
        if key
    ]
    try:
        _pass_one(model, name, side)
    finally:
        for handle in handles:
            handle.remove()
    return list(found.values())


def _pass_one(model: nn.Module, name: str, side: int) -> Tensor:
    """The scores of one grey image.

    Raises:
        ValueError: it takes no images of that size, or returns no scores.
    """
    training = model.training
    try:
        with torch.inference_mode():
            scores = model.eval()(torch.zeros(1, 3, side, side).to(memory_format=torch.channels_last))
    except (RuntimeError, ValueError, AssertionError, TypeError) as error:
        size = getattr(model, "image_size", None) or getattr(getattr(model, "patch_embed", None), "img_size", None)
        takes = f"it takes {size[0] if isinstance(size, tuple) else size} px" if size else str(error).split("\n")[0]
        raise ValueError(f"{name} takes no images of {side} px a side: {takes}; --image-size gives another") from None
    finally:
        model.train(training)
    if not isinstance(scores, Tensor) or scores.ndim != 2:
        what = f"a tensor of shape {tuple(scores.shape)}" if isinstance(scores, Tensor) else type(scores).__name__
        raise ValueError(f"{name} returns {what} for one image; scores [image, class] are valid")
    return scores


def check_scores(model: nn.Module, name: str, classes: int, side: int) -> None:
    """Nothing, where the network gives so many finite scores to an image of that size.

    Raises:
        ValueError: it does not.
    """
    scores = _pass_one(model, name, side)
    if scores.shape != (1, classes) or not bool(scores.isfinite().all()):
        raise ValueError(
            f"{name} returns {tuple(scores.shape)} scores for one image; ({classes},) finite ones are valid"
        )


def default_modules(model: nn.Module, name: str, side: int, seen: Sequence[Output] | None = None) -> tuple[str, ...]:
    """Up to five modules whose feature maps are measured: the five of the report where the network has them.

    Else convolutions, evenly from the first to the last; in transformers, which have fewer, their blocks; and where
    blocks keep channels last, the modules that return maps [channel, height, width].

    Args:
        model: a network with weights, on the CPU.
        name: its name, for the error message.
        side: of the image, pixels.
        seen: what `outputs` gave; None: an image is passed through the network where that is needed.
    """
    named = dict(model.named_modules())
    if all(module in named for module in FIVE_MODULES):
        return FIVE_MODULES
    seen = outputs(model, name, side) if seen is None else seen
    convolutions = [each.name for each in seen if isinstance(named[each.name], nn.Conv2d) and len(each.shape) == 3]
    kinds = Counter(each.kind for each in seen if len(each.shape) == 2 and next(named[each.name].children(), None))
    last_of = {each.kind: place for place, each in enumerate(seen)}
    # Of kinds that are equally many, the outermost, which ends last.
    common = max(kinds, key=lambda kind: (kinds[kind], last_of[kind]), default="")
    blocks = [each.name for each in seen if each.kind == common]
    rest = [each.name for each in seen if len(each.shape) == 3]
    for candidates in (convolutions, blocks, convolutions or rest or [seen[-1].name]):
        if len(candidates) >= MODULES:
            break
    last, number = len(candidates) - 1, min(MODULES, len(candidates))
    return tuple(candidates[round(place * last / max(1, number - 1))] for place in range(number))


@functools.lru_cache(maxsize=1000)
def obstacle(name: str, side: int) -> str:
    """Why a network has no portable arithmetic, as a clause; empty where it has.

    Asked by the command line, which chooses the arithmetic, and again before a training; computed once.

    Every module needs a kernel, and what the network computes between them must be equal everywhere. The five ResNets
    are known to have it.

    Raises:
        ValueError: no such network.
    """
    if name in MODELS:
        return ""
    # Any number of classes will do.
    model = construct(name, 10)
    if any(value.is_meta for value in model.state_dict().values()):
        model = model.to_empty(device="cpu")
        for value in model.state_dict().values():
            value.zero_()
    reasons = arithmetic.refused_modules(model)
    reasons += [
        f"{key} (dropout, which draws from torch's generator)"
        for key, module in model.named_modules()
        if isinstance(module, nn.Dropout) and module.p > 0
    ]
    if reasons:
        return f"{'; '.join(reasons[:3])}{f' and {len(reasons) - 3} more' if len(reasons) > 3 else ''}"
    with _operations() as seen:
        _pass_one(arithmetic.portable(model), name, side)
    foreign = sorted(seen - EQUAL_EVERYWHERE)
    return f"its forward() calls {', '.join(foreign)}, whose bits are torch's" if foreign else ""


@contextlib.contextmanager
def _operations() -> Iterator[set[str]]:
    """The names of torch's operations that are computed meanwhile; sums of two shapes have one of their own."""
    seen: set[str] = set()

    class Listen(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, function, types, arguments=(), keywords=None):  # type: ignore[no-untyped-def]
            shapes = {value.shape for value in arguments if isinstance(value, Tensor)}
            name = function.overloadpacket.__name__
            # Its gradient is a sum, in an order of torch's.
            seen.add(f"{name} of two shapes" if name in ("add", "add_") and len(shapes) > 1 else name)
            return function(*arguments, **(keywords or {}))

    with Listen():  # type: ignore[no-untyped-call]
        yield seen
