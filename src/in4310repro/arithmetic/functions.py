"""Batch norm, cross-entropy and softmax by the compiled kernels; batch norm and cross-entropy have gradients.

Maps are float32 [image, channel, height, width]; results lie in channels_last memory. Formulas in docs/arithmetic.md.
Second derivatives and those of forward mode, which autograd would silently compute wrongly, raise an error.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._C import _are_functorch_transforms_active

from in4310repro.arithmetic import buffers, library, shares, tree
from in4310repro.arithmetic.library import Maybe
from in4310repro.arithmetic.signatures import describe

ACTIVATIONS = {"none": 0, "relu": 1, "relu6": 2}  # of enum Form in normalisation.hpp
SUM_RELU = 3


class Unrecorded:
    """Context of a function whose gradient is not recorded: it keeps nothing."""

    needs_input_grad = (False,) * 16

    def save_for_backward(self, *_values: Maybe) -> None:
        """Save no values."""


class Function(torch.autograd.Function):
    """Base class of the package's functions of autograd, which can be differentiated once, in reverse mode."""

    once = True  # False where second derivatives are right too

    def __init_subclass__(cls) -> None:
        if cls.once:
            cls.backward = staticmethod(first_only(cls.backward))  # type: ignore[method-assign]

    @classmethod
    def apply(cls, *arguments: Any) -> Tensor:
        """Apply the function, recorded where gradients are; inside of torch.func, raise an error that names it."""
        if not torch.is_grad_enabled():
            return cls.forward(Unrecorded(), *arguments)  # type: ignore[no-any-return]
        if _are_functorch_transforms_active():
            raise ValueError(f"{cls.__name__.strip('_')} cannot run inside of torch.func; {library.NATIVE}")
        return super().apply(*arguments)  # type: ignore[no-untyped-call, no-any-return]


def first_only(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap an autograd.Function's backward() so that computing second derivatives raises an error.

    torch's `once_differentiable` raises an error only if the gradient passed to backward() requires a gradient.
    If that gradient requires none, a loss term computed from gradients with `create_graph=True` would silently
    not be differentiated. Here, what backward() returns depends on that gradient and on all saved tensors: among them
    has to be each input that the gradients depend on.
    """

    def differentiated(ctx: Any, *gradients: Maybe) -> Any:
        name = backward.__qualname__.partition(".")[0].strip("_")
        for gradient in gradients:
            if gradient is not None:
                library.refuse_transforms(f"the gradient given to {name}", gradient)
        # Gradients are recorded here only with create_graph=True.
        if not torch.is_grad_enabled():
            return backward(ctx, *gradients)
        if getattr(ctx, "batch", shares.WHOLE).is_shared:
            raise RuntimeError(f"{name} with create_graph=True needs a single process; {library.NATIVE}")
        with torch.no_grad():
            results = backward(ctx, *gradients)
        given = [value for value in (*gradients, *ctx.saved_tensors) if value is not None and value.requires_grad]
        return tuple([each if each is None else _Refusal.apply(name, each.detach(), *given) for each in results])  # type: ignore[no-untyped-call]

    return differentiated


class _Refusal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, name: str, value: Tensor, *_given: Tensor) -> Tensor:
        ctx.name = name
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *_gradients: Tensor) -> Tensor:
        raise RuntimeError(f"portable arithmetic has no second derivatives of {ctx.name}; {library.NATIVE}")


class Norm(NamedTuple):
    """The arguments of `batch_norm` after the maps, which mean the same as in torch.nn.functional.batch_norm.

    Attributes:
        running_mean: float32 [channel]; updated by `momentum` in training, used in evaluation.
        running_variance: float32 [channel]; updated and used like `running_mean`.
        weight: float32 [channel]; 1 if None.
        bias: float32 [channel]; 0 if None.
        training: True to normalise by the statistics of the batch, False to use the running statistics.
        momentum: weight of the batch in the updated running statistics.
        epsilon: added to the variance.
        activation: "none", "relu" or "relu6".
        other: maps of the same shape, added before the activation; allowed with "relu" only.
        form: the activation and the sum, of enum Form in normalisation.hpp; `check_norm` sets it.
    """

    running_mean: Maybe
    running_variance: Maybe
    weight: Maybe
    bias: Maybe
    training: bool
    momentum: float = 0.1
    epsilon: float = 1e-5
    activation: str = "none"
    other: Maybe = None
    form: int = 0


def batch_norm(maps: Tensor, norm: Norm) -> Tensor:
    """Return activation(batch_norm(maps) + other), computed in one pass, for maps [image, channel, height, width].

    Raises:
        ValueError: dtypes or shapes are wrong, the activation is unknown, or each channel has only one value in
            training.
    """
    maps = check_maps("maps", maps).contiguous(memory_format=torch.channels_last)
    return _BatchNorm.apply(maps, *check_norm(maps.shape, norm))


def check_norm(shape: Sequence[int], norm: Norm) -> tuple[Maybe, Maybe, Maybe, Norm]:
    """Check the arguments of `batch_norm` for maps of a shape; return weight, bias, second map, and the rest."""
    names, other = ("running mean", "variance", "weight", "bias"), norm.other
    mean, variance, weight, bias = (
        library.check(name, value, torch.float32, (shape[1],)) for name, value in zip(names, norm[:4], strict=True)
    )
    if norm.training and shares.current().images_of_batch(shape[0]) * shape[2] * shape[3] < 2:
        shape = tuple(shape)
        raise ValueError(f"maps of shape {shape} have one value per channel; batch norm in training needs 2 or more")
    if not norm.training and (mean is None or variance is None):
        raise ValueError("batch norm in evaluation needs running mean and variance; there are none")
    if (mean is None) != (variance is None):
        raise ValueError("batch norm with one of running mean and variance; it needs both or neither")
    if norm.activation not in ACTIVATIONS:
        raise ValueError(f"activation is {norm.activation!r}; it must be one of {', '.join(ACTIVATIONS)}")
    form = ACTIVATIONS[norm.activation]
    if other is not None:
        if norm.activation != "relu":
            raise ValueError(f"a second map with activation {norm.activation!r}; it must be relu")
        form, other = SUM_RELU, library.check("second map", other, torch.float32, shape)
    # In training they are updated in place, so that the originals are needed instead of checked copies.
    mean, variance = norm[:2] if norm.training else (mean, variance)
    return weight, bias, other, Norm(mean, variance, None, None, *norm[4:8], None, form)


def coefficients(weight: Maybe, bias: Maybe, norm: Norm) -> Tensor:
    """Return float32 [centre, scale, shift] per channel for batch norm in evaluation mode, without gradients.

    The arguments are as `check_norm` returns them.
    """
    channels = len(norm.running_mean)  # type: ignore[arg-type]  # it is not None
    tensors = weight, bias, *norm[:2], buffers.empty(3, channels)
    return library.call("normalisation_coefficients", channels, float(norm.epsilon), *tensors)


def normalise(maps: Tensor, weight: Maybe, bias: Maybe, other: Maybe, norm: Norm) -> tuple[Tensor, Tensor]:
    """Return the normalised maps, and each channel's mean and 1 / standard deviation as float64 [2, channel].

    The arguments are as `check_norm` returns them; `maps` are in channels_last memory.
    """
    images, channels, height, width = maps.shape
    sizes, epsilon = (images, height * width, channels, norm.form), float(norm.epsilon)
    result, statistics = buffers.maps(maps.shape), buffers.empty(2, channels, dtype=torch.float64)
    tensors = (maps, weight, bias, *norm[:2], other, result, statistics)
    if not norm.training:
        library.call("normalise_by", *sizes, epsilon, *tensors)
        return result, statistics
    batch, sums = shares.current(), None
    if batch.is_shared:
        rows = tree.rows(images, 2 * channels)
        sums = batch.total(library.call("normalisation_leaves", *sizes[:3], maps, rows))
    rows_of_batch = batch.images_of_batch(images) * height * width
    library.call("normalise", *sizes, rows_of_batch, float(norm.momentum), epsilon, sums, *tensors)
    return result, statistics


def normalise_backward(
    batch: shares.Whole, gradient: Tensor, saved: Sequence[Any], norm: Norm
) -> tuple[Tensor, Maybe, Maybe, Maybe]:
    """Return the gradients of maps, weight, bias and second map, from that of the result of `normalise`.

    Args:
        batch: the batch of the forward pass.
        gradient: the gradient of the result.
        saved: maps, weight and bias of the forward pass, its result, and its statistics. The result is needed with a
            second map only, where it alone shows which values the activation passed.
        norm: the last argument of `normalise`.
    """
    maps, weight, bias, result, statistics = saved
    images, channels, height, width = maps.shape
    gradient = gradient.contiguous(memory_format=torch.channels_last)
    of_maps, of_weight, of_bias = buffers.maps(maps.shape), buffers.empty(channels), buffers.empty(channels)
    of_other = buffers.maps(maps.shape) if norm.form == SUM_RELU else None
    sizes, sums = (images, height * width, channels, norm.form), None
    given = (gradient, maps, result, weight, bias, statistics, of_other)
    if batch.is_shared:
        rows = tree.rows(images, 2 * channels)
        sums = batch.total(library.call("normalisation_gradient_leaves", *sizes, *given, rows))
    numbers = (batch.images_of_batch(images) * height * width, int(not norm.training), sums)
    library.call("normalise_backward", *sizes, *numbers, *given, of_maps, of_weight, of_bias)
    return of_maps, None if weight is None else of_weight, None if bias is None else of_bias, of_other


class _BatchNorm(Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Maybe, bias: Maybe, other: Maybe, norm: Norm) -> Tensor:
        result, statistics = normalise(maps, weight, bias, other, norm)
        ctx.norm, ctx.batch = norm, shares.current()
        ctx.save_for_backward(maps, weight, bias, None if other is None else result, statistics)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Maybe, ...]:
        return *normalise_backward(ctx.batch, gradient, ctx.saved_tensors, ctx.norm), None


def cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy of the batch as a scalar: log(sum of exp(scores)) - score of the label.

    Args:
        scores: float32 [image, class].
        labels: int64 [image], from 0 to classes - 1.

    Raises:
        ValueError: there is no image, a label is out of range, or dtypes or shapes are wrong.
    """
    scores, labels = _scores_and_labels(scores, labels)
    if not scores.requires_grad:
        return _CrossEntropy.forward(Unrecorded(), scores, labels)
    return _CrossEntropy.apply(scores, labels)


class _CrossEntropy(Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, labels: Tensor) -> Tensor:
        (images, classes), batch = scores.shape, shares.current()
        gradient = buffers.empty(images, classes) if ctx.needs_input_grad[0] else None
        whole, rows = batch.images_of_batch(images), tree.rows(images, 1)
        library.call("loss_leaves", images, whole, classes, scores, labels, rows, gradient)
        ctx.save_for_backward(gradient, scores)
        return tree.quotients(batch.total(rows), whole).reshape(())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        of_scores, _scores = ctx.saved_tensors
        # A product with 1 is skipped because it would flush denormals if torch is set to do so.
        return of_scores if gradient.item() == 1 else of_scores * gradient, None


def losses(scores: Tensor, labels: Tensor) -> Tensor:
    """Return each image's cross-entropy as float64 [image]; see `cross_entropy`.

    Raises:
        ValueError: as `cross_entropy`, or the scores require a gradient, which this function has not.
    """
    _refuse_gradient("losses", scores)
    scores, labels = _scores_and_labels(scores, labels)
    (images, classes), result = scores.shape, buffers.empty(len(scores), dtype=torch.float64)
    library.call("losses", images, images, classes, scores, labels, result, None)
    return result


def softmax(scores: Tensor) -> Tensor:
    """Return exp(score) / sum of exp(scores) per image as float32 [image, class].

    Raises:
        ValueError: the scores are not float32 [image, class], or require a gradient, which this function has not.
    """
    _refuse_gradient("softmax", scores)
    scores = check_maps("scores", scores, "[image, class]")
    return library.call("softmax", *scores.shape, scores, buffers.empty(*scores.shape))


def _refuse_gradient(name: str, scores: Tensor) -> None:
    if torch.is_grad_enabled() and scores.requires_grad:
        raise ValueError(f"portable arithmetic has no gradient of {name}; detach the scores, or call torch's")


def check_maps(what: str, values: Tensor, axes: str = "[image, channel, height, width]") -> Tensor:
    """Check that values are float32, have these axes, and are not empty; return them by `library.as_plain`.

    Raises:
        ValueError: the dtype, the number of axes or the device is another one, or there are no values.
    """
    number = axes.count(",") + 1
    if library.is_plain(values, torch.float32) and values.ndim == number:
        return values
    fits = not values.is_nested and (values.dtype, values.ndim, values.device.type) == (torch.float32, number, "cpu")
    if not (fits and values.numel()):
        raise ValueError(f"{what}: {describe(values)}; it must be torch.float32 {axes} on the CPU, not empty")
    return library.as_plain(what, values)


def _scores_and_labels(scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    scores = check_maps("scores", scores, "[image, class]")
    labels, classes = library.check("labels", labels, torch.int64, scores.shape[:1]), scores.shape[1]
    if not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ValueError(f"labels from {int(labels.min())} to {int(labels.max())}; they must be 0 to {classes - 1}")
    return scores, labels
