"""Compiled libraries: the choice for a processor, and the checks of a kernel's arguments and results."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from in4310repro.arithmetic import library as libraries
from in4310repro.arithmetic.library import Library, Shape, check, library
from in4310repro.arithmetic.signatures import parse


def softmax(scores: Tensor) -> Tensor:
    result = torch.zeros(4, 6)
    library().call("softmax", 4, 6, scores, result)
    return result


@pytest.mark.parametrize(
    "scores",
    [
        torch.arange(24.0).reshape(6, 4).T,
        torch.arange(48.0).reshape(4, 12)[:, ::2],
        torch.arange(6.0).expand(4, 6),
        torch._neg_view(torch.arange(24.0).reshape(4, 6)),
    ],
    ids=["transposed", "every other", "expanded", "negative"],
)
def test_values_that_are_only_read_may_lie_anywhere(scores: Tensor) -> None:
    expected = scores.double().softmax(dim=1).float()
    torch.testing.assert_close(softmax(scores), expected, rtol=1e-6, atol=0)


def test_values_on_another_device_are_refused() -> None:
    with pytest.raises(ValueError, match=r"softmax: scores is torch\.float32 of shape \(4, 6\) on meta"):
        softmax(torch.ones(4, 6, device="meta"))


def test_another_dtype_shape_or_device_is_refused_by_name() -> None:
    for values in (torch.ones(3, dtype=torch.float64), torch.ones(2), torch.ones(3, device="meta")):
        given = f"weight: {values.dtype} of shape {tuple(values.shape)} on {values.device}"
        sentence = f"{given}; it must be torch.float32 of shape (3,) on the CPU"
        with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
            check("weight", values, torch.float32, (3,))


def test_checked_values_are_the_values_themselves_with_their_gradient() -> None:
    values = torch.rand(2, 3, 4, 5).requires_grad_()
    assert check("maps", values, torch.float32, values.shape) is values
    negative = torch._neg_view(torch.ones(3))
    assert (check("values", negative, torch.float32, (3,)).is_neg(), negative.is_neg()) == (False, True)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_nested_and_functional_tensors_are_refused_by_name() -> None:
    values = torch.ones(2, 3)
    given = {"nested": torch.nested.nested_tensor([values]), "functional": torch._to_functional_tensor(values)}
    for kind, value in given.items():
        with pytest.raises(ValueError, match=f"^maps: a {kind} tensor; it must be a dense"):
            libraries.as_plain("maps", value)


def test_a_view_whose_last_value_lies_behind_the_end_of_its_memory_is_refused() -> None:
    view = torch.ones(8, 200).T[:2]  # the last is the second value of the eighth row, the 1402nd
    view.untyped_storage().resize_(4 * 1400)
    with pytest.raises(ValueError, match=r"in 5600 bytes of memory; it must have 5608 or more$"):
        libraries.as_plain("maps", view)


class Kernel:
    """Stand-in for a library's function that keeps the arguments it was given."""

    arguments: Any

    def __init__(self, status: int) -> None:
        self.status, self.arguments = status, []

    def __call__(self, *arguments: Any) -> int:
        self.arguments = arguments
        return self.status


def made_up(declarations: str, **functions: Kernel) -> Library:
    made = Library.__new__(Library)
    made.instruction_set, made.functions = "made-up", functions
    made.signatures = parse(declarations, {"Shape": Shape})
    return made


DECLARATION = "int f(ptrdiff_t threads, const Shape *shape, ptrdiff_t n, double x, const float y?[n], float z[n])"


def test_a_kernel_gets_threads_addresses_and_numbers() -> None:
    kernel, values, shape = Kernel(0), torch.rand(2, 3), Shape(*range(1, 15))
    made_up(DECLARATION, f=kernel).call("f", shape, 6, 0.5, None, values)
    *numbers, address = kernel.arguments
    assert numbers == [torch.get_num_threads(), shape, 6, 0.5, None]
    assert address == values.data_ptr()


def test_what_a_kernel_says_of_memory_and_sizes_is_raised() -> None:
    shape = Shape(*range(1, 15))
    with pytest.raises(MemoryError) as raised:
        made_up(DECLARATION, f=Kernel(1)).call("f", shape, 6, 0.5, None, torch.rand(2, 3))
    assert str(raised.value) == (
        "no working memory for f of images 1 channels 2 height 3 width 4 outputs 5 kernel_height 6 kernel_width 7 "
        "stride_y 8 stride_x 9 padding_top 10 padding_bottom 11 padding_left 12 padding_right 13 groups 14, "
        "6, 0.5, (2, 3)"
    )
    tables = made_up(
        "int h(ptrdiff_t threads, ptrdiff_t n, const int64_t sizes[n], float *const z[n sizes])", h=Kernel(1)
    )
    with pytest.raises(MemoryError, match=r"^no working memory for h of 2, \(2,\), 2 tensors$"):
        tables.call("h", 2, torch.tensor([3, 4]), [torch.rand(3), torch.rand(4)])
    with pytest.raises(ValueError, match=r"^f refuses \[6, 0\.5\]$"):
        made_up(DECLARATION, f=Kernel(2)).call("f", shape, 6, 0.5, None, torch.rand(2, 3))


def test_a_function_that_counts_returns_its_number() -> None:
    count, sink = library().functions["fused_operations"], torch.empty(())
    assert count(20, sink.data_ptr()) == 2 * count(10, sink.data_ptr()) > 0


def test_the_widest_library_that_the_processor_has_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    usable = {"avx512": 0, "avx2": 1, "base": 1}
    built = {name: made_up("ptrdiff_t usable()", usable=Kernel(status)) for name, status in usable.items()}
    monkeypatch.setattr(libraries, "open_library", built.get)
    choose = libraries.available.__wrapped__
    assert choose() is built["avx2"]
    assert [each.usable for each in built.values()] == [False, True, True]
    del built["avx2"]
    assert choose() is built["base"]
    del built["base"]
    assert choose() is None


@pytest.mark.parametrize(("there", "listed"), [((), "none"), (("avx512", "base"), "avx512, base")])
def test_no_library_is_an_error_that_lists_those_that_were_built(
    there: tuple[str, ...],
    listed: str,
    remove_library: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    for name in there:
        (tmp_path / f"_arithmetic_{name}.so").touch()
    monkeypatch.setattr(libraries, "__file__", str(tmp_path / "library.py"))
    remove_library()
    assert libraries.built_instruction_sets() == list(there)
    sentence = (
        "no kernel was built for this processor (a C++ compiler and fused products are needed: pip install -e .); "
        f"there are {listed}"
    )
    with pytest.raises(RuntimeError, match=f"^{re.escape(sentence)}$"):
        library()


def test_a_library_of_other_sources_is_refused_and_one_that_does_not_load_is_none(tmp_path: Path) -> None:
    file = Path(libraries.__file__).with_name(f"_arithmetic_{library().instruction_set}.so")
    with pytest.raises(
        ValueError, match=rf"^{re.escape(file.name)} was compiled from other sources: install again, pip install -e \.$"
    ):
        Library(file, "base", source=file.with_name("linear.cpp"))
    (tmp_path / "broken.so").write_bytes(b"nothing")

    def kind(file: Path, instruction_set: str) -> tuple[Path, str]:
        if file.name == "broken.so":
            raise OSError
        return file, instruction_set

    assert libraries.open_if_built(kind, tmp_path / "missing.so", "base") is None
    assert libraries.open_if_built(kind, tmp_path / "broken.so", "base") is None
    assert libraries.open_if_built(kind, file, "base") == (file, "base")


def test_the_hash_of_sources_is_of_names_and_contents(tmp_path: Path) -> None:
    for name in ("a.cpp", "b.hpp"):
        (tmp_path / name).write_bytes(name.encode() * 2)
    digest = hashlib.sha256(b"a.cpp\0a.cppa.cppb.hpp\0b.hppb.hpp").hexdigest()
    assert libraries.hash_of([tmp_path / "a.cpp", tmp_path / "b.hpp"]) == digest
    sources = sorted(file for file in Path(libraries.__file__).parent.iterdir() if file.suffix in (".cpp", ".hpp"))
    assert library().functions["source"]().decode() == libraries.hash_of(sources)
