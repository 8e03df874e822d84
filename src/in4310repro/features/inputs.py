"""Functions that count the images in the inputs of a model."""

from collections.abc import Callable, Mapping

from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from in4310repro.features.nesting import children, iterate_values

ImageCounter = Callable[..., int]
HINT = "say how many there are: count_images=FUNCTION, which gets the arguments of the model and returns their number"


def count_images(args: tuple[object, ...], kwargs: Mapping[str, object]) -> int:
    """Return the number of images in the first argument that contains a tensor; positional arguments come first.

    * A tensor has its images on axis 0; a packed sequence has one image per sequence.
    * A list or tuple of mappings, or of tensors with three axes, has one image per entry, as in torchvision's
      detection.
    * All parts of any other list or tuple, of a mapping or of a dataclass must have the same number of images.

    Raises:
        ValueError: there is no tensor, or the parts of an argument have different numbers.
    """
    for argument in (*args, kwargs):
        if (count := _count(argument)) is not None:
            return count
    raise ValueError(f"no input of the model is a tensor or holds one, so that nothing tells its images; {HINT}")


def check_count(count: object) -> int:
    """Return the number of images that a caller's function gave, after checking that it is an int from 0.

    Raises:
        ValueError: the value is not a possible number of images.
    """
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise ValueError(f"count_images gave {count!r}; it has to give the number of images, an int from 0")
    return count


def is_certain(args: tuple[object, ...], kwargs: Mapping[str, object]) -> bool:
    """Return whether the number of images is certain: the first argument with images is a single tensor."""
    first = next((argument for argument in (*args, *kwargs.values()) if _count(argument) is not None), None)
    return isinstance(first, Tensor | PackedSequence)


def check_output(images: int, output: object) -> None:
    """Check that the model's output has as many images as were counted in its nested input.

    Raises:
        ValueError: the output is not a list with one entry per image, and has no tensor with one row per image.
    """
    numbers = {int(value.size(0)) for _, value in iterate_values(output) if isinstance(value, Tensor) and value.dim()}
    if isinstance(output, list | tuple):
        numbers.add(len(output))
    if images not in numbers:
        raise ValueError(
            f"the nested input of the model looks like {images} images, and its output like {sorted(numbers)}; {HINT}"
        )


def _count(argument: object) -> int | None:
    """Return the number of images in an argument; None if it contains no tensor with an axis."""
    if isinstance(argument, Tensor):
        return int(argument.size(0)) if argument.dim() else None
    if isinstance(argument, PackedSequence):
        return int(argument.batch_sizes[0])
    parts = [part for _, part in children(argument) or []]
    plain_list = isinstance(argument, list | tuple) and not hasattr(argument, "_fields")
    if parts and plain_list and all(_is_one_image(part) for part in parts):
        return len(parts)
    counts = {count for part in parts if (count := _count(part)) is not None}
    if len(counts) > 1:
        raise ValueError(f"the parts of the model's nested input look like {sorted(counts)} images; {HINT}")
    return next(iter(counts), None)


def _is_one_image(part: object) -> bool:
    return isinstance(part, Mapping) or (isinstance(part, Tensor) and part.dim() == 3)
