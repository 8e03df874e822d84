"""Compiled libraries: which is taken, what a kernel is given, what it returns; nothing is believed unchecked."""

from __future__ import annotations

import ctypes
import hashlib
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from in4310repro.arithmetic import library as libraries
from in4310repro.arithmetic.convolutions import Shape
from in4310repro.arithmetic.library import Library, checked, library
from in4310repro.arithmetic.peak import fused_operations


def softmax(scores: Tensor) -> Tensor:
    result = torch.zeros(4, 6)
    library().call("softmax", 4, 6, scores, result)
    return result


@pytest.mark.parametrize(
    "scores",
    [torch.ones(6, 4).T, torch.ones(4, 12)[:, ::2], torch.ones(1, 6).expand(4, 6), torch.ones(4, 6, device="meta")],
    ids=["transposed", "every other", "expanded", "on another device"],
)
def test_values_that_do_not_lie_side_by_side_are_refused(scores: Tensor) -> None:
    assert torch.equal(softmax(torch.ones(4, 6)), torch.full((4, 6), 1 / 6))
    sentence = (
        f"a tensor (4, 6) in steps of {scores.stride()} on {scores.device}; valid are values side by side on the CPU"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        softmax(scores)


def test_another_dtype_shape_or_device_is_refused_by_name() -> None:
    for values in (torch.ones(3, dtype=torch.float64), torch.ones(2), torch.ones(3, device="meta")):
        given = f"weight: {values.dtype} of shape {tuple(values.shape)} on {values.device}"
        sentence = f"{given}; valid is torch.float32 of shape (3,) on the CPU"
        with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
            checked("weight", values, torch.float32, (3,))


def test_checked_values_are_the_values_without_their_gradient_and_in_the_memory_that_is_asked_for() -> None:
    values = torch.rand(2, 3, 4, 5).requires_grad_()
    same = checked("maps", values, torch.float32, values.shape)
    assert (same.data_ptr(), same.requires_grad) == (values.data_ptr(), False)
    negative = torch._neg_view(torch.ones(3))
    assert checked("values", negative, torch.float32, (3,)).is_neg() is False
    turned = torch.rand(3, 2).T
    rows = libraries.rows("rows", turned, (2, 3))
    assert (rows.tolist(), rows.is_contiguous()) == (turned.tolist(), True)
    last = libraries.channels_last("maps", values, (2, 3, 4, 5))
    assert torch.equal(last, values)
    assert last.is_contiguous(memory_format=torch.channels_last)
    for function in (libraries.rows, libraries.channels_last):
        with pytest.raises(
            ValueError, match=r"^maps: torch\.float32 of shape \(3, 2\) on cpu; valid is torch\.float32"
        ):
            function("maps", torch.rand(3, 2), (2, 3))


class Kernel:
    """A function of a library that keeps what it was given."""

    restype: Any = None
    arguments: Any

    def __init__(self, status: int) -> None:
        self.status, self.arguments = status, []

    def __call__(self, *arguments: Any) -> int:
        self.arguments = arguments
        return self.status


def made_up(**functions: Kernel) -> Library:
    made = Library.__new__(Library)
    made.instruction_set, made._library = "made-up", SimpleNamespace(**functions)  # type: ignore[assignment]
    return made


def test_a_kernel_gets_threads_addresses_and_numbers() -> None:
    kernel, values = Kernel(0), torch.rand(2, 3)
    maps = torch.rand(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    made_up(f=kernel).call("f", 7, 0.5, None, values, maps)
    threads, seven, half, null, address, other = kernel.arguments
    assert (threads.value, seven.value, half.value, null) == (torch.get_num_threads(), 7, 0.5, None)
    assert [type(value) for value in (threads, seven, half)] == [ctypes.c_ssize_t, ctypes.c_ssize_t, ctypes.c_double]
    assert (address.value, other.value) == (values.data_ptr(), maps.data_ptr())
    shape = Shape(*range(1, 13))
    made_up(f=kernel).call("f", shape, threads=0)
    assert kernel.arguments[0].value == 0
    assert kernel.arguments[1]._obj is shape
    with pytest.raises(ValueError, match="valid are values side by side"):
        made_up(f=kernel).call("f", torch.rand(2, 3, 4, 10)[..., ::2])
    # Five axes have no channels_last memory of ours.
    with pytest.raises(ValueError, match="valid are values side by side"):
        made_up(f=kernel).call("f", torch.rand(1, 2, 3, 4, 5).contiguous(memory_format=torch.channels_last_3d))


def test_what_a_kernel_says_of_memory_and_sizes_is_raised() -> None:
    shape = Shape(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
    with pytest.raises(MemoryError) as raised:
        made_up(f=Kernel(1)).call("f", shape, 7, 0.5, None, torch.rand(2, 3))
    assert str(raised.value) == (
        "no working memory for f of images 1 channels 2 height 3 width 4 outputs 5 kernel_height 6 kernel_width 7 "
        "stride_y 8 stride_x 9 padding_y 10 padding_x 11 groups 12, 7, 0.5, (2, 3)"
    )
    with pytest.raises(ValueError, match=r"^f refuses \[7, 0\.5\]$"):
        made_up(f=Kernel(2)).call("f", shape, 7, 0.5, None, torch.rand(2, 3))


def test_a_function_that_counts_returns_its_number() -> None:
    kernel = Kernel(5)
    assert made_up(count=kernel).number("count", 3) == 5
    assert (kernel.restype, kernel.arguments[0].value) == (ctypes.c_ssize_t, 3)
    assert fused_operations(20) == 2 * fused_operations(10) > 0


def test_the_widest_library_that_the_processor_has_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    usable = {"avx512": 0, "avx2": 1, "base": 1}
    built = {name: made_up(usable=Kernel(status)) for name, status in usable.items()}
    monkeypatch.setattr(libraries, "compiled", built.get)
    choose = libraries.available.__wrapped__
    assert choose() is built["avx2"]
    assert [each.usable for each in built.values()] == [False, True, True]
    del built["avx2"]
    assert choose() is built["base"]
    del built["base"]
    assert choose() is None


@pytest.mark.parametrize(("there", "listed"), [((), "none"), (("avx512", "base"), "avx512, base")])
def test_no_library_is_an_error_that_lists_those_that_were_built(
    there: tuple[str, ...], listed: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in there:
        (tmp_path / f"_arithmetic_{name}.so").touch()
    monkeypatch.setattr(libraries, "__file__", str(tmp_path / "library.py"))
    monkeypatch.setattr(libraries, "available", lambda: None)
    assert libraries.built() == list(there)
    sentence = (
        "no kernel was built for this processor (a C++ compiler and fused products are needed: pip install -e .); "
        f"there are {listed}"
    )
    with pytest.raises(RuntimeError, match=f"^{re.escape(sentence)}$"):
        library()


def test_a_library_of_other_sources_is_refused_and_one_that_does_not_load_is_none(tmp_path: Path) -> None:
    file = Path(libraries.__file__).with_name(f"_arithmetic_{library().instruction_set}.so")
    with pytest.raises(
        ValueError, match=rf"^{re.escape(file.name)} was compiled from others: install again, pip install -e \.$"
    ):
        libraries.load(file, "0", "others")
    (tmp_path / "broken.so").write_bytes(b"nothing")

    def kind(file: Path, instruction_set: str) -> tuple[Path, str]:
        if file.name == "broken.so":
            raise OSError
        return file, instruction_set

    assert libraries.if_built(kind, tmp_path / "missing.so", "base") is None
    assert libraries.if_built(kind, tmp_path / "broken.so", "base") is None
    assert libraries.if_built(kind, file, "base") == (file, "base")


def test_the_hash_of_sources_is_of_names_and_contents(tmp_path: Path) -> None:
    for name in ("a.cpp", "b.hpp"):
        (tmp_path / name).write_bytes(name.encode() * 2)
    digest = hashlib.sha256(b"a.cpp\0a.cppa.cppb.hpp\0b.hppb.hpp").hexdigest()
    assert libraries.hash_of([tmp_path / "a.cpp", tmp_path / "b.hpp"]) == digest
    sources = sorted(file for file in Path(libraries.__file__).parent.iterdir() if file.suffix in (".cpp", ".hpp"))
    assert libraries.source_hash() == libraries.hash_of(sources)
