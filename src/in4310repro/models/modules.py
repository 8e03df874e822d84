"""Modules of a network: output shapes, the default choice to measure, and obstacles to portable arithmetic."""

import functools
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.utils._python_dispatch import TorchDispatchMode

from in4310repro import arithmetic
from in4310repro.arithmetic import shares
from in4310repro.features.hooks import evaluation_mode
from in4310repro.models.building import construct, initial_state
from in4310repro.models.sources import FIVE_MODULES, Network
from in4310repro.system.tensors import load_state
from in4310repro.system.text import first_of

MODULES = 5  # whose feature maps are measured where none are named


class Output(NamedTuple):
    """A module's name and class, and the shape of its first output tensor without the image axis."""

    name: str
    kind: str
    shape: tuple[int, ...]


def outputs(model: nn.Module, name: str, side: int) -> list[Output]:
    """List the outputs of all modules for one image, in the order in which the modules finish.

    Args:
        model: a network with weights, on the CPU.
        name: the network's name, for the error message.
        side: width and height of the image in pixels.

    Raises:
        ValueError: the network cannot process images of that size.
    """
    names = {module: key for key, module in model.named_modules()}
    found: dict[str, Output] = {}

    def note(module: nn.Module, _inputs: object, given: Any) -> None:
        first = given[0] if isinstance(given, list | tuple) and given else given
        if (key := names.get(module)) and isinstance(first, Tensor):
            found.setdefault(key, Output(key, type(module).__name__, tuple(first.shape[1:])))

    with register_module_forward_hook(note):
        pass_one(model, name, side)
    return list(found.values())


def pass_one(model: nn.Module, name: str, side: int) -> Tensor:
    """Return the scores that a network gives to one grey image.

    Raises:
        ValueError: the network cannot process images of that size, or returns no scores.
    """
    try:
        with evaluation_mode(model), torch.inference_mode():
            scores = model(torch.zeros(1, 3, side, side).to(memory_format=torch.channels_last))
    except (RuntimeError, ValueError, AssertionError, TypeError) as error:
        size = getattr(model, "image_size", None) or getattr(getattr(model, "patch_embed", None), "img_size", None)
        takes = f"it takes {size[0] if isinstance(size, tuple) else size} px" if size else str(error).split("\n")[0]
        raise ValueError(f"{name} cannot take images of {side} px a side: {takes}; try another --image-size") from None
    if not isinstance(scores, Tensor) or scores.ndim != 2:
        what = f"a tensor of shape {tuple(scores.shape)}" if isinstance(scores, Tensor) else type(scores).__name__
        raise ValueError(f"{name} returns {what} for one image; it must return scores [image, class]")
    return scores


def check_scores(model: nn.Module, name: str, classes: int, side: int) -> None:
    """Raise ValueError unless the network gives an image of this size one finite score per class."""
    scores = pass_one(model, name, side)
    if scores.shape != (1, classes):
        raise ValueError(
            f"{name} returns {scores.shape[1] if len(scores) == 1 else tuple(scores.shape)} scores for one image; "
            f"{classes} are needed, one for each class"
        )
    if not bool(scores.isfinite().all()):
        raise ValueError(f"{name} returns scores that are infinite or nan for one image; they must be finite")


def default_modules(model: nn.Module, name: str, side: int, seen: Sequence[Output] | None = None) -> tuple[str, ...]:
    """Return the names of up to five modules to measure.

    If the network has the five modules of the original report, their names are returned. Otherwise five evenly
    spaced modules are chosen from the convolutions or, if there are fewer than five convolutions, from the blocks
    of a transformer. If there are also fewer than five blocks, the modules are chosen from the convolutions; if
    there is no convolution, from the modules that return maps [channel, height, width].

    Args:
        model: a network with weights, on the CPU.
        name: the network's name, for the error message.
        side: width and height of the image in pixels.
        seen: the result of `outputs`; None to compute it if needed.
    """
    named = dict(model.named_modules())
    if {*FIVE_MODULES} <= named.keys():
        return FIVE_MODULES
    seen = outputs(model, name, side) if seen is None else seen
    convolutions = [each.name for each in seen if isinstance(named[each.name], nn.Conv2d) and len(each.shape) == 3]
    # Where several kinds are equally frequent, the outermost one, which ends last.
    kinds = Counter(e.kind for e in reversed(seen) if len(e.shape) == 2 and next(named[e.name].children(), None))
    common = max(kinds, key=kinds.__getitem__, default="")
    blocks = [each.name for each in seen if each.kind == common]
    rest = [each.name for each in seen if len(each.shape) == 3]
    for candidates in (convolutions, blocks, convolutions or rest or [seen[-1].name]):
        if len(candidates) >= MODULES:
            break
    last, number = len(candidates) - 1, min(MODULES, len(candidates))
    return tuple(candidates[round(place * last / max(1, number - 1))] for place in range(number))


# Operations allowed between modules in portable arithmetic: none that adds in an order that torch chooses.
EQUAL_EVERYWHERE = """
    _to_copy _unsafe_view add add_ alias as_strided cat chunk clone constant_pad_nd contiguous copy_ detach empty
    empty_like empty_strided fill_ flatten ge hardtanh hardtanh_ lift_fresh masked_fill masked_fill_ narrow ones pad
    permute relu relu6 relu_ reshape resolve_neg select set_ slice split squeeze stack t to transpose unbind unsqueeze
    view view_as zero_ zeros zeros_like
"""
# Operations that their gradients add.
EQUAL_BACKWARD = "hardtanh_backward new_empty_strided new_zeros select_backward slice_backward threshold_backward"


@functools.lru_cache(maxsize=1000)
def obstacle(network: Network, side: int) -> str:
    """Return a clause that explains why a network cannot run in portable arithmetic; empty if it can.

    Every module needs a kernel, and what the network computes between modules must have the same bits everywhere: in
    evaluation, of one grey image and of two drawn ones, and in a training step on the latter, with its backward pass.
    The five ResNets are known to fulfil these conditions and are not examined. Results are cached, since the
    command line and a training run both need them.

    Raises:
        ValueError: the network does not exist.
    """
    if network.is_resnet:
        return ""
    # Any number of classes will do.
    model = construct(network, 10)
    if any(value.is_meta for value in model.state_dict().values()):
        model = model.to_empty(device="cpu")
    if reasons := arithmetic.refused_modules(model):
        return first_of(reasons, 3, "; ")
    load_state(model, initial_state(model, 0))
    model = arithmetic.portable(model)
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    images, batch = images.to(memory_format=torch.channels_last), shares.Whole(torch.arange(2))
    seen = set[str]()

    class Listener(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, function, types, arguments=(), keywords=None):  # type: ignore[no-untyped-def]
            shapes = {value.shape for value in arguments if isinstance(value, Tensor)}
            name = function.overloadpacket.__name__
            # Its gradient is a sum, in an order of torch's.
            seen.add(f"{name} of two shapes" if name in ("add", "add_") and len(shapes) > 1 else name)
            return function(*arguments, **(keywords or {}))

    with Listener() as heard:  # type: ignore[no-untyped-call]
        pass_one(model, network.name, side)
    for training, stage, code, equal in (
        (False, "evaluation", "forward()", EQUAL_EVERYWHERE),
        (True, "training step", "training step", EQUAL_EVERYWHERE + EQUAL_BACKWARD),
    ):
        try:
            with heard, torch.random.fork_rng([]), torch.inference_mode(not training), torch.set_grad_enabled(training):
                with batch:
                    scores = model.train(training)(images)
                # The loss refuses anything else that a network may return in training.
                if training and isinstance(scores, Tensor) and scores.requires_grad:
                    # Numbers that are drawn already: to draw others would be heard.
                    scores.backward(images.flatten()[: scores.numel()].reshape(scores.shape))  # type: ignore[no-untyped-call]
        except Exception as error:  # code of others
            return f"its {stage} fails with {type(error).__name__}: {error}"
        if foreign := sorted(seen - {*equal.split()}):
            return f"its {code} calls {', '.join(foreign)}, whose bits are torch's"
    return ""
