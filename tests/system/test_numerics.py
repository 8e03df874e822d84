"""Arithmetic modes: portable if the kernels were built, native as torch computes, each with its own class."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from in4310repro import arithmetic
from in4310repro.system.numerics import (
    Numerics,
    activate,
    class_of,
    generator_for,
    probe,
    resolve_device,
)


def run_fresh(code: str, **environment: str) -> str:
    command = [sys.executable, "-c", f"from in4310repro.system.numerics import activate\n{code}"]
    variables = os.environ | environment
    return subprocess.run(
        command, env=variables, capture_output=True, text=True, check=True, timeout=600
    ).stdout.strip()


def processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def portable_here(numerics: Numerics) -> None:
    if numerics.mode != "portable":
        pytest.skip(f"portable arithmetic is unavailable here: {numerics.note}")


@pytest.mark.parametrize("threads", ["1", pytest.param("3", marks=pytest.mark.slow)])
def test_portable_keeps_the_number_of_threads_and_its_class_depends_on_neither_it_nor_a_variable(
    threads: str, numerics: Numerics
) -> None:
    portable_here(numerics)
    # Used before, and with the variables of other arithmetic: nothing of it may count.
    code = (
        "import torch; torch.ones(9) @ torch.ones(9); a = activate('portable', 'cpu')\n"
        "print(a.numeric_class, a.threads, torch.get_num_threads())"
    )
    variables = {"OMP_NUM_THREADS": threads, "ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE"}
    numeric_class, reported, of_torch = run_fresh(code, **variables).split()
    assert numeric_class == numerics.numeric_class
    assert reported == of_torch
    assert threads != "1" or reported == "1"


@pytest.mark.slow
def test_native_takes_all_processors() -> None:
    code = "a = activate('native', 'cpu'); import torch; print(a.threads, torch.get_num_threads())"
    assert run_fresh(code, OMP_NUM_THREADS="1") == f"{processors()} {processors()}"


@pytest.mark.parametrize("value", ["abc", "0", "-3", "2.5", "1,x"])
@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "OMP_THREAD_LIMIT"])
def test_a_number_of_threads_that_is_none_is_refused(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=f"{name} is '{value}'; it must be a number of threads, 1 or more"):
        activate("auto", "cpu")


@pytest.mark.parametrize(
    ("name", "value", "threads"),
    [
        ("OMP_THREAD_LIMIT", "1", 1),
        ("OMP_THREAD_LIMIT", "64", None),
        ("OMP_DYNAMIC", "true", 1),
        ("OMP_DYNAMIC", "false", None),
        ("OMP_MAX_ACTIVE_LEVELS", "0", 1),
        ("OMP_NUM_THREADS", "3,2", None),
    ],
)
def test_native_arithmetic_takes_no_more_threads_than_openmp_is_sure_to_start(
    name: str, value: str, threads: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0, 1}, raising=False)
    monkeypatch.setenv(name, value)
    before = torch.get_num_threads()
    try:
        assert activate("native", "cpu").threads == (threads or processors())
    finally:
        torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one thread never waits for another")
def test_native_arithmetic_does_not_wait_for_threads_that_openmp_may_not_start() -> None:
    # On all processors, also beside other tests. The probe has a backward pass.
    everywhere = "import os; hasattr(os, 'sched_setaffinity') and os.sched_setaffinity(0, range(os.cpu_count())); "
    printed = run_fresh(everywhere + "a = activate('native', 'cpu'); print(a.threads, a.note)", OMP_THREAD_LIMIT="1")
    assert printed == "1 OpenMP is limited by the environment: threads 1"


def test_without_kernels_portable_stops_with_the_reason_and_auto_is_native(remove_library: Callable[[], None]) -> None:
    remove_library()
    with pytest.raises(ValueError, match=r"no kernel was built .*; use --numerics native"):
        activate("portable", "cpu")
    active = activate("auto", "cpu")
    assert active.mode == "native"
    assert active.note.startswith("native arithmetic, because portable is unavailable: no kernel was built for this ")


def test_a_changed_kernel_is_another_numeric_class(numerics: Numerics) -> None:
    portable_here(numerics)
    changed = [numerics.probe, *(numerics.probe | {name: "0" * 12} for name in numerics.probe)]
    classes = [class_of(arithmetic.VERSION, probe) for probe in changed]
    assert classes[0] == numerics.numeric_class
    assert len({*classes, class_of(arithmetic.VERSION + 1, numerics.probe)}) == len(numerics.probe) + 2


def test_a_network_is_placed_with_its_names_and_values_kept(numerics: Numerics) -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    state = {name: value.clone() for name, value in model.state_dict().items()}
    placed = numerics.place(model)
    assert placed is model
    assert all(torch.equal(state[name], value) for name, value in placed.state_dict().items())


def test_another_thread_count_is_another_numeric_class_in_native_arithmetic(numerics: Numerics) -> None:
    hashes = probe()
    classes = {class_of(hashes, threads, "cpu") for threads in (1, 2, 4)}
    assert len(classes) == 3
    assert len(numerics.numeric_class) == 12


def test_the_probe_repeats_and_sees_every_library() -> None:
    assert probe() == probe()
    assert {"convolution", "convolution_gradient", "matrix_product", "softmax", "square_root"} < set(probe())


def test_the_probe_draws_all_its_numbers_from_one_generator_and_those_of_the_photograph_last() -> None:
    generator = generator_for(0, "probe")
    generator.standard_normal(4 * 16 * 20 * 20 + 24 * 16 * 3 * 3 + 2 * 96 * 200 + 2 * 4096, dtype="float32")
    photograph = Image.fromarray(generator.integers(0, 256, (40, 60, 3), dtype="uint8"))
    small = photograph.resize((32, 32), Image.Resampling.BILINEAR)
    assert probe()["resize"] == hashlib.sha256(small.tobytes()).hexdigest()[:12]


def test_native_and_portable_arithmetic_have_different_classes(numerics: Numerics) -> None:
    portable_here(numerics)
    assert activate("native", "cpu").numeric_class != numerics.numeric_class


@pytest.mark.parametrize("mode", ["portable", "native"])
def test_losses_and_scores_are_those_of_torch_in_double(mode: str, numerics: Numerics) -> None:
    portable_here(numerics)
    active = activate(mode, "cpu")
    logits = torch.randn(30, 6, generator=torch.Generator().manual_seed(0)) * 5
    labels = torch.arange(30) % 6
    oracle = torch.nn.functional.cross_entropy(logits.double(), labels, reduction="none")
    torch.testing.assert_close(active.losses(logits, labels), oracle, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(active.cross_entropy(logits, labels).double(), oracle.mean(), rtol=1e-5, atol=0)
    torch.testing.assert_close(active.softmax(logits).double(), logits.double().softmax(dim=1), rtol=0, atol=3e-7)


def test_the_loss_in_portable_arithmetic_has_the_bits_of_its_kernels(numerics: Numerics) -> None:
    portable_here(numerics)
    labels = torch.arange(99) % 6
    for scores in torch.randn(20, 99, 6, generator=torch.Generator().manual_seed(0)):
        assert torch.equal(numerics.cross_entropy(scores, labels), arithmetic.cross_entropy(scores, labels))


@pytest.mark.parametrize(
    ("mode", "device", "message"),
    [
        ("fast", "cpu", "numerics is 'fast'; it must be one of auto, native, portable"),
        ("native", "tpu", "device is 'tpu'; it must be auto, cpu, cuda"),
        ("portable", "cuda", "it runs on the CPU and the device asked for is 'cuda'; use --numerics native"),
    ],
)
def test_wrong_modes_and_devices_are_refused(mode: str, device: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        activate(mode, device)


def test_a_gpu_beyond_the_last_is_refused() -> None:
    assert [resolve_device(name, 2) for name in ("auto", "cuda", "cuda:1")] == ["cuda", "cuda", "cuda:1"]
    with pytest.raises(ValueError, match="device 'cuda:2' was asked for; it must be one of cuda:0 to cuda:1"):
        resolve_device("cuda:2", 2)


@pytest.mark.parametrize("cards", [0, 1])
def test_a_device_that_torch_cannot_use_is_refused(cards: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # A driver that is too old for this torch still counts its cards.
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cards)
    with pytest.raises(ValueError, match="sees no CUDA device; use cpu"):
        activate("native", "cuda")


def test_a_generator_depends_on_the_seed_and_every_name() -> None:
    def draw(*words: int | str) -> float:
        return float(generator_for(int(words[0]), *words[1:]).random())

    assert draw(0, "epoch", 1, "a") == draw(0, "epoch", 1, "a")
    assert (
        len({draw(0, "epoch", 1, "a"), draw(1, "epoch", 1, "a"), draw(0, "epoch", 2, "a"), draw(0, "epoch", 1, "b")})
        == 4
    )


def test_a_generator_is_numpys_pcg64() -> None:
    of_name = int.from_bytes(hashlib.sha256(b"epoch").digest()[:8], "big")
    oracle = np.random.Generator(np.random.PCG64(np.random.SeedSequence([3, of_name, 7]))).random()
    assert generator_for(3, "epoch", 7).random() == oracle


STATE = """
from torch._C import _get_deterministic_fill_uninitialized_memory as filled
import torch._inductor.config
print(
    torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled(),
    torch.utils.deterministic.fill_uninitialized_memory, filled(), torch._inductor.config.deterministic,
)
"""
PUBLIC = "torch.use_deterministic_algorithms(True); torch.utils.deterministic.fill_uninitialized_memory = False"


def test_torchs_state_is_that_of_its_public_function_whenever_inductor_is_imported() -> None:
    expected = "True False False False True"
    assert run_fresh(f"import torch; {PUBLIC}\n{STATE}") == expected
    assert run_fresh(f"activate('auto', 'cpu'); import torch\n{STATE}") == expected
    assert run_fresh(f"import torch._inductor.config; activate('native', 'cpu')\n{STATE}") == expected
    # The debug mode alone leaves inductor's flag.
    assert run_fresh(f"import torch; torch.set_deterministic_debug_mode('error')\n{STATE}") != expected
