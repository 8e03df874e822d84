"""Drawn scenes depend on their arguments only: same picture at each size, same bits on each processor."""

from __future__ import annotations

import ast
import inspect
from types import ModuleType

import numpy as np
import pytest
from jaxtyping import Float64, UInt8

from in4310repro.data import drawing, scenes
from in4310repro.data.scenes import CLASSES, draw

# Operations that IEEE 754 rounds once on every processor, or that compute nothing.
PORTABLE = {
    *("abs", "floor", "maximum", "minimum", "where", "cumsum", "searchsorted"),
    *("arange", "array", "ascontiguousarray", "concatenate", "zeros"),
    *("float64", "int64", "uint8", "ndarray", "random", "Generator", "PCG64", "SeedSequence"),
}
METHODS = {"astype", "random", "integers", "reshape", "transpose"}
OTHER_METHODS = {"split", "index", "replace"}
BUILT_IN = {
    *("abs", "int", "max", "min", "len", "list", "range", "tuple", "map", "slice"),
    *("isinstance", "copy", "float", "TypeVar"),
    # A picture, which draws a number, and functions that its methods return.
    *("self", "view", "line", "each"),
}
ARITHMETIC = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Mod, ast.RShift, ast.BitAnd, ast.BitOr)


def unportable_operations(source: str, defined: set[str]) -> set[str]:
    """Return the operations in a module's source that are neither allowed as portable nor in `defined`."""
    operations = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "np":
            operations |= {f"np.{node.attr}"} - {f"np.{name}" for name in PORTABLE}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            operations |= {node.func.attr} - METHODS - OTHER_METHODS - PORTABLE - defined
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            operations |= {node.func.id} - BUILT_IN - {"ValueError"} - defined
        elif isinstance(node, ast.BinOp | ast.AugAssign) and not isinstance(node.op, ARITHMETIC):
            operations.add(type(node.op).__name__)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            module = node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
            operations |= {module or "."} - ALLOWED_MODULES
    return operations


ALLOWED_MODULES = {
    *("__future__", "collections.abc", "copy", "typing"),
    *("jaxtyping", "numpy", "in4310repro.data", "in4310repro.data.drawing"),
}


def functions_of(source: str) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def halved(picture: UInt8[np.ndarray, "tall wide channel"]) -> Float64[np.ndarray, "height width channel"]:
    """Return the means of blocks of 2 x 2 pixels."""
    height, width, channels = picture.shape
    blocks = picture.reshape(height // 2, 2, width // 2, 2, channels).astype(np.float64)
    return np.asarray(blocks.mean(axis=(1, 3)))


@pytest.mark.parametrize("label", CLASSES)
def test_the_same_arguments_draw_the_same_pixels(label: str) -> None:
    first = draw(label, 3, 64, 7)
    draw(label, 4, 64, 7)
    assert np.array_equal(first, draw(label, 3, 64, 7))


@pytest.mark.parametrize(
    "other",
    [("mountain", 0, 32, 0), ("sea", 1, 32, 0), ("sea", 0, 32, 1), ("sea", 0, 32, 2**32)],
    ids=["label", "image", "seed", "seed-beyond-32-bits"],
)
def test_another_label_image_or_seed_draws_another_scene(other: tuple[str, int, int, int]) -> None:
    difference = np.abs(draw("sea", 0, 32, 0).astype(np.int64) - draw(*other))
    assert np.mean(difference > 8) > 0.5


def test_no_two_of_many_pictures_are_equal() -> None:
    pictures = {draw(label, image, 16, 0).tobytes() for label in CLASSES for image in range(5)}
    assert len(pictures) == 5 * len(CLASSES)


@pytest.mark.parametrize("size", [16, 32, 64, 150])
@pytest.mark.parametrize("label", CLASSES)
def test_a_picture_has_the_requested_size_and_eight_bits_per_channel(label: str, size: int) -> None:
    picture = draw(label, 0, size, 0)
    assert picture.shape == (size, size, 3)
    assert picture.dtype == np.uint8
    assert picture.flags.c_contiguous


@pytest.mark.parametrize("label", CLASSES)
def test_a_class_uses_dark_and_bright_values_and_no_picture_is_flat(label: str) -> None:
    pictures = np.stack([draw(label, image, 32, 0) for image in range(8)]).astype(np.float64)
    assert np.percentile(pictures, 2) < 60
    assert np.percentile(pictures, 98) > 175
    assert pictures.std(axis=(1, 2, 3)).min() > 10
    assert 70 < pictures.mean() < 180


@pytest.mark.parametrize("label", CLASSES)
def test_a_picture_of_twice_the_size_shows_the_same_scene(label: str) -> None:
    for image in range(2):
        small, large = draw(label, image, 64, 0).astype(np.float64), halved(draw(label, image, 128, 0))
        assert np.abs(small - large).mean() < 10
        # Another scene differs by more.
        assert np.abs(small - halved(draw(label, image + 50, 128, 0))).mean() > 15


def test_the_classes_are_those_of_the_real_images_in_alphabetical_order() -> None:
    assert CLASSES == ("buildings", "forest", "glacier", "mountain", "sea", "street")


def test_drawing_refuses_an_unknown_label() -> None:
    with pytest.raises(ValueError, match=r"unknown class 'desert'; the classes are \['buildings', 'forest'"):
        draw("desert", 0, 64, 0)


def test_drawing_refuses_a_size_below_sixteen_pixels() -> None:
    with pytest.raises(ValueError, match="size is 15 pixels; it must be at least 16"):
        draw("sea", 0, 15, 0)


@pytest.mark.parametrize(("image", "seed"), [(-1, 0), (0, -1)])
def test_drawing_refuses_a_negative_image_or_seed(image: int, seed: int) -> None:
    with pytest.raises(ValueError, match=f"image is {image} and seed is {seed}; neither may be negative"):
        draw("sea", image, 64, seed)


@pytest.mark.parametrize("module", [drawing, scenes], ids=lambda module: module.__name__.rpartition(".")[2])
def test_pixels_come_from_portable_operations_alone(module: ModuleType) -> None:
    sources = [inspect.getsource(each) for each in (drawing, scenes)]
    defined = set().union(*map(functions_of, sources))
    assert unportable_operations(inspect.getsource(module), defined) == set()


@pytest.mark.parametrize(
    ("source", "operation"),
    [
        ("y = np.exp(x)", "np.exp"),
        ("y = np.interp(x, a, b)", "np.interp"),
        ("y = x.mean(axis=0)", "mean"),
        ("y = np.zeros(3).dot(x)", "dot"),
        ("y = x ** 0.5", "Pow"),
        ("y = a @ b", "MatMult"),
        ("y = sum(x)", "sum"),
        ("import math", "math"),
        ("from PIL import ImageDraw", "PIL"),
        ("y = x.astype(np.float32)", "np.float32"),
    ],
)
def test_an_operation_that_varies_between_processors_is_reported(source: str, operation: str) -> None:
    assert operation in unportable_operations(source, defined=set())
