"""Images are counted correctly, or the forward pass is rejected with advice."""

import dataclasses
import re
from collections.abc import Callable
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from in4310repro.features import FeatureStatistics
from tests.features.conftest import measure


class Calling(nn.Module):
    """A model that applies a function to its inner module and its inputs."""

    def __init__(self, function: Callable[..., object]) -> None:
        super().__init__()
        self.inner = nn.Tanh()
        self.function = function

    def forward(self, *args: object, **kwargs: object) -> object:
        return self.function(self.inner, *args, **kwargs)


@dataclasses.dataclass
class Batch:
    """A batch with a tensor of images and a field that is not a tensor."""

    images: Tensor
    name: str = "validation"


@dataclasses.dataclass
class Sized:
    """A batch whose first tensor is a scale; the length of this tensor is not the number of images."""

    scale: Tensor
    images: Tensor


PICTURES = [torch.ones(3, 8, 8), torch.ones(3, 8, 8)]
FIVE = torch.ones(5, 3, 8, 8)
stacked: Callable[..., object] = lambda inner, pictures: list(inner(torch.stack(pictures)))  # noqa: E731

COUNTED: dict[str, tuple[Callable[..., object], tuple[object, ...], dict[str, object], int]] = {
    "a tensor": (lambda inner, x: inner(x), (FIVE,), {}, 5),
    "a list of pictures": (stacked, (PICTURES,), {}, 2),
    "a tuple of pictures": (lambda inner, x: stacked(inner, list(x)), (tuple(PICTURES),), {}, 2),
    "pictures and targets": (lambda inner, x, _: stacked(inner, x), (PICTURES, None), {}, 2),
    "pictures of several sizes": (
        lambda inner, x: [inner(each[None]) for each in x],
        ([torch.ones(3, 8, 9), torch.ones(3, 7, 7), torch.ones(1, 9, 9)],),
        {},
        3,
    ),
    "a list of mappings": (
        lambda inner, x: stacked(inner, [each["image"] for each in x]),
        ([{"image": picture, "height": 8} for picture in PICTURES],),
        {},
        2,
    ),
    "two streams": (lambda inner, x: inner(x[0] + x[1]), ([FIVE, FIVE],), {}, 5),
    "a mapping": (lambda inner, x: inner(x["images"]), ({"images": FIVE, "masks": torch.ones(5, 8)},), {}, 5),
    "a mapping of sequences": (lambda inner, x: inner(x["words"]), ({"words": torch.ones(5, 4, 8)},), {}, 5),
    "a mapping with a list": (lambda inner, x: stacked(inner, x["images"]), ({"images": PICTURES},), {}, 2),
    "a dataclass": (lambda inner, x: inner(x.images), (Batch(FIVE),), {}, 5),
    "a keyword": (lambda inner, images=None: inner(images), (), {"images": FIVE}, 5),
    "keywords": (lambda inner, a=None, b=None: inner(a) + b, (), {"a": FIVE, "b": FIVE}, 5),
    "a number first": (lambda inner, _, x: inner(x), (torch.tensor(3.0), FIVE), {}, 5),
    "a packed sequence": (
        lambda inner, x: inner(x.data),
        (pack_padded_sequence(torch.ones(4, 5, 8), torch.tensor([5, 3, 2, 1]), batch_first=True),),
        {},
        4,
    ),
}


@pytest.mark.parametrize("case", COUNTED)
def test_images_of_every_kind_of_input_are_counted(case: str) -> None:
    function, args, kwargs, images = COUNTED[case]
    model = Calling(function)
    with FeatureStatistics(model, ["inner"], calls="keep", samples=None) as statistics:
        model(*args, **kwargs)
        model(*args, **kwargs)
    assert {result.images for result in statistics.result().values()} == {2 * images}


REFUSED: dict[str, tuple[Callable[..., object], tuple[object, ...], dict[str, object], str]] = {
    "grey pictures in a list": (
        lambda inner, x: inner(torch.stack(x)).mean(dim=2),
        ([torch.ones(9, 8)] * 3,),
        {},
        r"looks like 9 images, and its output like \[3\]",
    ),
    "two streams of tokens": (
        lambda inner, x: inner(x[0] + x[1]),
        ([torch.ones(5, 7, 4)] * 2,),
        {},
        r"looks like 2 images, and its output like \[5\]",
    ),
    "volumes in a list": (
        lambda inner, x: inner(torch.stack(x)),
        ([torch.ones(1, 4, 4, 4)] * 3,),
        {},
        r"looks like 1 images, and its output like \[3\]",
    ),
    "an output that says nothing": (
        lambda inner, x: inner(x["images"]).mean(),
        ({"images": FIVE},),
        {},
        r"looks like 5 images, and its output like \[\]",
    ),
    "parts that differ": (
        lambda inner, x: inner(x.images),
        (Sized(torch.ones(1), FIVE),),
        {},
        r"parts of the model's nested input look like \[1, 5\] images",
    ),
    "keywords that differ": (
        lambda inner, scale=None, images=None: inner(images * scale),
        (),
        {"scale": torch.ones(1), "images": FIVE},
        r"look like \[1, 5\] images",
    ),
    "no tensor": (lambda inner, n: inner(torch.ones(n, 3)), (4,), {}, "no input of the model is a tensor or holds one"),
    "an array": (
        lambda inner, x: inner(torch.from_numpy(x)),
        (FIVE.numpy(),),
        {},
        "no input of the model is a tensor or holds one",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_number_of_images_that_is_not_certain_is_refused_and_can_be_told(case: str) -> None:
    function, args, kwargs, message = REFUSED[case]
    model = Calling(function)
    with (
        FeatureStatistics(model, ["inner"], samples=None) as refused,
        pytest.raises(ValueError, match=f"{message}.*count_images=FUNCTION"),
    ):
        model(*args, **kwargs)
    with pytest.raises(ValueError, match=r"never ran|was aborted"):
        refused.result()
    with FeatureStatistics(model, ["inner"], count_images=lambda *_, **__: 7, samples=None) as statistics:
        model(*args, **kwargs)
    assert statistics.result()["inner"].images == 7


@pytest.mark.parametrize("count", [None, -1, 2.0, True])
def test_a_function_that_gives_no_number_of_images_is_refused(count: Any) -> None:
    model = nn.Sequential(nn.Tanh())
    with (
        FeatureStatistics(model, ["0"], count_images=lambda _: count, samples=None) as _,
        pytest.raises(ValueError, match=re.escape(f"count_images gave {count!r}; it has to give the number of images")),
    ):
        model(FIVE)


def test_a_model_whose_input_begins_with_time_is_refused_unless_told() -> None:
    model = nn.GRU(4, 6)
    with (
        FeatureStatistics(model, [""], samples=None),
        pytest.raises(ValueError, match=r"batch_first of the model is False.*count_im"),
    ):
        model(torch.ones(7, 2, 4))
    with FeatureStatistics(model, [""], count_images=lambda steps: steps.shape[1], samples=None) as statistics:
        model(torch.ones(7, 2, 4))
    assert statistics.result()["[0]"].images == 2


@pytest.mark.parametrize("samples", [None, "images", "positions", "flat"])
@pytest.mark.parametrize("layer", [nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.AvgPool2d(2)])
def test_one_image_without_a_batch_axis_is_refused(
    layer: nn.Module, samples: Literal["images", "positions", "flat"] | None
) -> None:
    model = nn.Sequential(layer)
    with (
        FeatureStatistics(model, ["0"], samples),
        pytest.raises(ValueError, match=r"module '0': its output has shape .* one image"),
    ):
        model(torch.ones(3, 8, 8))


class Twice(nn.Module):
    """A model that calls itself on the mirrored images, as in test-time augmentation."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Tanh()

    def forward(self, images: Tensor, mirror: bool = True) -> Tensor:
        mirrored = self(images.flip(3), mirror=False) if mirror else torch.zeros(())
        result: Tensor = self.inner(images) + mirrored
        return result


def test_a_model_that_calls_itself_is_refused() -> None:
    model = Twice()
    with (
        FeatureStatistics(model, ["inner"], calls="keep", samples=None) as _,
        pytest.raises(ValueError, match="began a forward pass inside of another one"),
    ):
        model(FIVE)


def test_parts_of_a_batch_are_counted_as_the_batch() -> None:
    model = Calling(lambda inner, images: torch.cat([inner(images[:2]), inner(images[2:])]))
    assert measure(model, "inner", FIVE, samples=None).images == 5
    with FeatureStatistics(model, ["inner"], "images"), pytest.raises(ValueError, match="must be the 5 images"):
        model(FIVE)


def test_an_interrupt_inside_a_pass_leaves_no_result_as_an_error_does() -> None:
    def interrupted(inner: nn.Module, images: Tensor) -> Tensor:
        inner(images)
        raise KeyboardInterrupt

    model = Calling(interrupted)
    with FeatureStatistics(model, ["inner"], samples=None) as statistics:
        with pytest.raises(KeyboardInterrupt):
            model(FIVE)
        with pytest.raises(ValueError, match="a forward pass was aborted"):
            statistics.result()
        with pytest.raises(ValueError, match="or after one that was interrupted"):
            model(FIVE)
        with pytest.raises(ValueError, match="a forward pass was aborted"):
            statistics.result()
