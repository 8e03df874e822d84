"""Declarations of compiled functions agree with the C++ files, and every tensor is checked against them."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from in4310repro.arithmetic import library
from in4310repro.arithmetic.library import Shape
from in4310repro.arithmetic.signatures import TYPES, Parameter, Signature, fits, parse
from in4310repro.features import kernel
from in4310repro.trace import hashing

ROOMS = {
    "arithmetic": (library.SIGNATURES, Path(library.__file__).parent),
    "features": (kernel.SIGNATURES, Path(kernel.__file__).parent),
    "trace": (hashing.SIGNATURES, Path(hashing.__file__).parent),
}
rooms = pytest.mark.parametrize("room", ROOMS)


def read_exports(folder: Path) -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """Return the exported C++ functions of a folder: name -> type of the result, type and name of each parameter."""
    found = {}
    for file in folder.glob("*.cpp"):
        for text in re.findall(r"^EXPORTED ([^{]*?)(?: try)? \{", file.read_text(), flags=re.MULTILINE):
            head, _, parameters = " ".join(text.split()).rstrip(")").partition("(")
            returns, name = re.fullmatch(r"(.*?)(\w+)", head).groups()  # type: ignore[union-attr]
            pairs = []
            for parameter in filter(None, parameters.split(", ")):
                if parameter == "ptrdiff_t":  # without a name, as it is not used
                    pairs.append((parameter, "threads"))
                    continue
                kind, last = re.fullmatch(r"(.*?)(\w+)", parameter).groups()  # type: ignore[union-attr]
                pairs.append((kind.strip(), last))
            found[name] = (returns.strip(), pairs)
    return found


def list_declarations(signatures: dict[str, Signature]) -> dict[str, tuple[str, list[tuple[str, str]]]]:
    return {
        name: (each.returns.strip(), [(c_type(parameter), parameter.name) for parameter in each.parameters])
        for name, each in signatures.items()
    }


def c_type(parameter: Parameter) -> str:
    """Return the type of a parameter in C++, without its name."""
    star = " *const *" if parameter.of_list else " *" if parameter.extents or parameter.structure else ""
    return f"{'const ' if parameter.read_only else ''}{parameter.base}{star}"


@rooms
def test_declarations_are_those_of_the_cpp_files_by_type_name_and_order(room: str) -> None:
    signatures, folder = ROOMS[room]
    assert list_declarations(signatures) == read_exports(folder)


def test_all_45_exported_functions_are_declared() -> None:
    texts = [file.read_text() for _, folder in ROOMS.values() for file in folder.glob("*.cpp")]
    assert sum(len(re.findall("^EXPORTED", text, re.MULTILINE)) for text in texts) == 45
    assert sum(len(signatures) for signatures, _ in ROOMS.values()) == 45


@rooms
def test_a_swapped_or_retyped_pointer_is_no_longer_what_the_cpp_files_export(room: str) -> None:
    signatures, folder = ROOMS[room]
    truth = read_exports(folder)
    for name, (returns, parameters) in list_declarations(signatures).items():
        for place in range(len(parameters) - 1):
            swapped = [*parameters]
            swapped[place : place + 2] = swapped[place : place + 2][::-1]
            assert (returns, swapped) != truth[name]


@rooms
def test_the_loaded_functions_have_the_declared_types(room: str) -> None:
    signatures, _ = ROOMS[room]
    features = kernel.active_kernel()
    loaded = {
        "arithmetic": library.library(),
        "features": features,
        "trace": hashing.active_kernel(),
    }[room]
    assert loaded
    functions = loaded.functions
    assert functions.keys() == signatures.keys()
    for name, function in functions.items():
        assert len(function.argtypes) == len(signatures[name].parameters)
        assert function.restype is TYPES[signatures[name].returns]


def test_ctypes_itself_refuses_a_value_in_place_of_an_address() -> None:
    function = library.library().functions["softmax"]
    for wrong in (ctypes.c_double(0.0), 0.5, torch.ones(1)):
        with pytest.raises(ctypes.ArgumentError, match="argument 4"):
            function(1, 1, 1, wrong, 0)


ONE = parse(
    """
    int f(ptrdiff_t threads, ptrdiff_t n, ptrdiff_t m, const float read[n m], float written[n m], double sums?[n/8 2])
    int g(ptrdiff_t threads, const Shape *shape, const float maps[images height width channels], float rows[rows])
    int h(ptrdiff_t threads, ptrdiff_t tensors, const int64_t sizes[tensors], float *const written[tensors sizes],
          const float *const read?[tensors sizes])
    """,
    {"Shape": Shape},
)
WRONG: dict[str, Any] = {
    "transposed": torch.ones(2, 9),
    "smaller": torch.ones(9, 1),
    "larger": torch.ones(10, 2),
    "of another dtype": torch.ones(9, 2, dtype=torch.float64),
    "with gaps": torch.ones(9, 4)[:, ::2],
    "expanded": torch.ones(1, 2).expand(9, 2),
    "on another device": torch.ones(9, 2, device="meta"),
    "negative": torch._neg_view(torch.ones(9, 2)),
    "sparse": torch.ones(9, 2).to_sparse(),
    "a subclass": torch.ones(9, 2).as_subclass(type("Own", (Tensor,), {})),
    "no tensor": [1.0] * 18,
    "nothing": None,
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_tensor_that_is_written_has_to_be_what_was_declared(wrong: str) -> None:
    values = torch.ones(9, 2)
    ONE["f"].bind((1, 9, 2, values, values, None))
    with pytest.raises(ValueError, match=r"^f: written is .*; it must be torch\.float32 of sizes \(9, 2\)"):
        ONE["f"].bind((1, 9, 2, values, WRONG[wrong], None))


@pytest.mark.parametrize("wrong", [name for name in WRONG if name not in ("with gaps", "expanded", "negative")])
def test_a_tensor_that_is_read_has_to_have_the_declared_dtype_and_sizes(wrong: str) -> None:
    values = torch.ones(9, 2)
    with pytest.raises(ValueError, match=r"^f: read is .*; it must be torch\.float32 of sizes \(9, 2\)"):
        ONE["f"].bind((1, 9, 2, WRONG[wrong], values, None))


def at(address: int, number: int) -> list[float]:
    return list((ctypes.c_float * number).from_address(address))


def test_a_tensor_that_is_read_is_copied_where_it_lies_otherwise() -> None:
    values = torch.arange(18.0).reshape(9, 2)
    for given in (values, values.T.contiguous().T, torch._neg_view(-values), torch.cat([values, values], 1)[:, :2]):
        passed, _kept = ONE["f"].bind((1, 9, 2, given, torch.ones(9, 2), torch.ones(2, 2, dtype=torch.float64)))
        assert at(passed[3], 18) == values.flatten().tolist()


def test_maps_are_read_with_their_channels_side_by_side() -> None:
    shape, maps = Shape(2, 3, 4, 5, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1), torch.arange(120.0).reshape(2, 3, 4, 5)
    passed, _kept = ONE["g"].bind((1, shape, maps, torch.ones(4)))
    assert at(passed[2], 120) == maps.permute(0, 2, 3, 1).flatten().tolist()
    with pytest.raises(ValueError, match=r"g: maps is .*it must be torch\.float32 of sizes \(2, 4, 5, 3\)"):
        ONE["g"].bind((1, shape, maps.permute(0, 2, 3, 1), torch.ones(4)))


def test_lists_have_tensors_of_the_sizes_that_are_told_in_one_layout() -> None:
    first = [torch.ones(2, 3, 4, 5).contiguous(memory_format=torch.channels_last), torch.ones(6, 1)]
    sizes = torch.tensor([120, 6])
    ONE["h"].bind((1, 2, sizes, first, None))
    second = torch.arange(120.0).reshape(2, 3, 4, 5), torch.rand(6, 1)
    passed, kept = ONE["h"].bind((1, 2, sizes, first, [*second]))
    begin, other = (ctypes.c_int64 * 2).from_address(passed[4])
    assert at(begin, 120) == second[0].permute(0, 2, 3, 1).flatten().tolist()
    assert other == second[1].data_ptr()
    assert len(kept) == 3  # two tables, and the copy
    # The last one has the strides of its model, but not its shape.
    turned = torch.ones(6, 1).T
    for others in ([first[0], torch.ones(7, 1)], [torch.ones(120), first[1]], [first[0]], [first[0], turned]):
        with pytest.raises(ValueError, match="h: read "):
            ONE["h"].bind((1, 2, sizes, first, others))
    with pytest.raises(ValueError, match=r"h: written is .*of shape \(6, 1\)"):
        ONE["h"].bind((1, 2, torch.tensor([120, 7]), first, None))


def test_a_parameter_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^'float x\[n' is not a parameter of a declaration$"):
        parse("int f(float x[n)", {})


def test_another_number_of_arguments_is_refused() -> None:
    with pytest.raises(TypeError, match="f takes 6 arguments, not 2"):
        ONE["f"].bind((1, 9))


@pytest.mark.parametrize(
    ("sizes", "extents", "same"),
    [
        ((2, 3), (2, 3), True),
        ((3, 2), (2, 3), False),
        ((6,), (2, 3), True),
        ((2, 1, 3), (2, 3), True),
        ((2, 3, 5, 5), (2, 25, 3), True),
        ((2, 5, 5, 3), (2, 25, 3), False),
        ((4, 6), (4, 2, 3), True),
        ((4, 6), (3, 2, 4), False),
        ((), (1,), True),
        ((0, 3), (0, 3), True),
        ((2,), (-2,), False),
        ((2, 2), (-2, -2), False),
    ],
)
def test_axes_may_be_joined_and_split_in_the_order_of_memory(
    sizes: tuple[int, ...], extents: tuple[int, ...], same: bool
) -> None:
    assert fits(sizes, extents) == same
