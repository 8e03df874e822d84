"""What a training reads of surroundings that are changed, and which of its lines are noted as reading it."""

from __future__ import annotations

import datetime
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from types import FunctionType
from typing import Any

import numpy as np
import pytest
import torch

from in4310repro.trace import surroundings
from in4310repro.trace.notes import Notes


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


call_in_a_library = FunctionType(call.__code__.replace(co_filename="site-packages/library.py"), {})


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    modules = {module: {**vars(module)} for module in (datetime, os, random, time, torch, torch.random)}
    environment, python, numpy = type(os.environ), random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        yield
    for module, names in modules.items():
        vars(module).update(names)
    os.environ.__class__ = environment
    random.setstate(python)
    np.random.set_state(numpy)


@pytest.mark.parametrize(
    ("change", "name", "arguments", "what"),
    [
        (surroundings.shuffle_listings, "os.listdir", (), "a folder is listed"),
        (surroundings.sort_listings, "os.scandir", (), "a folder is listed"),
        (surroundings.shift_clock, "datetime.datetime.now", (), "the clock is read"),
        (surroundings.stop_clock, "time.time_ns", (), "the clock is read"),
        (surroundings.stop_clock, "time.perf_counter", (), "the clock is read"),
        (surroundings.stop_clock, "time.strftime", ("%S",), "the clock is read"),
        (surroundings.fix_entropy, "os.urandom", (1,), "entropy of the system is read"),
        (surroundings.fix_entropy, "os.getpid", (), "the process number is read"),
        (surroundings.fix_entropy, "random.seed", (), "a generator gets no seed"),
        (surroundings.fix_entropy, "random.Random", (), "a generator gets no seed"),
        (surroundings.fix_entropy, "torch.seed", (), "a generator gets no seed"),
        (surroundings.fix_entropy, "torch.Generator.seed", (torch.Generator(),), "a generator gets no seed"),
        (surroundings.change_variables, "os.environ.get", ("NOT_SET", 1), "the environment variable NOT_SET is read"),
    ],
)
def test_the_line_of_a_training_that_reads_what_is_changed_is_noted_and_that_of_a_library_is_not(
    change: Callable[[Notes], None], name: str, arguments: tuple[Any, ...], what: str, notes: Notes, tmp_path: Path
) -> None:
    change(notes)
    read = resolve_name(name)
    call_in_a_library(read, *arguments)
    assert not (tmp_path / "notes").exists()
    read(*arguments)
    assert re.fullmatch(rf"{what} at test_surroundings\.py:\d+\n", (tmp_path / "notes").read_text(encoding="utf-8"))


def list_names(folder: Path) -> list[str]:
    return os.listdir(folder)  # noqa: PTH208


def scan_names(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return [each.name for each in entries]


@pytest.mark.parametrize("read", [list_names, scan_names])
def test_a_shuffled_folder_has_neither_the_order_of_the_file_system_nor_that_of_the_alphabet(
    read: Callable[[Path], list[str]], tmp_path: Path
) -> None:
    notes = Notes(Path(os.devnull))
    for name in "0123456789":
        (tmp_path / name).touch()
    read_names = [read(tmp_path)]
    for _ in range(2):
        # The second time, what is shuffled already is the order of the file system.
        surroundings.shuffle_listings(notes)
        read_names.append(read(tmp_path))
    assert read_names[0] != read_names[1] != read_names[2]
    assert all(sorted(names) == [*"0123456789"] != names for names in read_names[1:])
    surroundings.sort_listings(notes)
    assert read(tmp_path) == [*"0123456789"]


def test_a_stopped_clock_stands_for_all_code_and_timers_only_for_the_training(notes: Notes) -> None:
    stopped = datetime.datetime(2020, 9, 13, 12, 26, 40, tzinfo=datetime.UTC)  # 1,600,000,000 s after 1970 began
    surroundings.stop_clock(notes)
    assert (time.time(), call_in_a_library(time.time), time.time_ns()) == (16e8, 16e8, 16 * 10**17)
    assert time.gmtime() == call_in_a_library(time.gmtime) == stopped.utctimetuple()
    assert datetime.datetime.now(datetime.UTC) == stopped == datetime.datetime.utcnow().replace(tzinfo=datetime.UTC)
    moment = datetime.datetime.fromtimestamp(16e8)
    assert (time.strftime("%c"), time.asctime()) == (moment.strftime("%c"), moment.ctime())
    assert time.strftime("%Y", time.gmtime(0)) == "1970"
    for timer in (time.perf_counter, time.monotonic, time.process_time):
        assert timer() == 16e8 != call_in_a_library(timer)


def test_a_shifted_clock_is_116_days_ahead(notes: Notes) -> None:
    now = time.time()
    surroundings.shift_clock(notes)
    assert round((datetime.datetime.now().timestamp() - now) / 86_400) == 116


def test_generators_without_a_seed_and_numbers_of_processes_are_the_same_in_every_process(
    monkeypatch: pytest.MonkeyPatch, notes: Notes
) -> None:
    drawn = []
    for number in (7, 8):
        monkeypatch.setattr(os, "getpid", partial(int, number))
        surroundings.fix_entropy(notes)
        assert call_in_a_library(os.getpid) == number
        generator = torch.Generator()
        # As torch says, what is returned is the seed.
        assert (torch.seed(), generator.seed()) == (torch.initial_seed(), generator.initial_seed())
        random.seed()
        python = random.random(), random.Random().random(), np.random.default_rng().random()
        drawn.append((os.getpid(), *python, torch.rand(1), torch.rand(1, generator=generator), os.urandom(8)))
    assert drawn[0] == drawn[1]
    assert os.urandom(8) != drawn[0][-1]


def test_generators_with_a_seed_keep_it_where_entropy_is_fixed(notes: Notes, tmp_path: Path) -> None:
    expected = random.Random(5).random(), torch.rand(1, generator=torch.Generator().manual_seed(5))
    surroundings.fix_entropy(notes)
    random.seed(5)
    assert (random.random(), torch.rand(1, generator=torch.Generator().manual_seed(5))) == expected
    assert random.Random(5).random() == expected[0]
    assert not (tmp_path / "notes").exists()


@pytest.mark.parametrize(
    ("seed", "draw", "draw_of_seed_0"),
    [
        (surroundings.seed_python, random.random, random.Random(0).random),
        (surroundings.seed_numpy, np.random.random, np.random.RandomState(0).random),
        (surroundings.seed_torch, partial(torch.rand, 1), lambda: torch.rand(1, generator=torch.manual_seed(0))),
    ],
)
def test_a_seeded_global_generator_draws_as_one_with_seed_0(
    seed: Callable[[Notes], None], draw: Callable[[], Any], draw_of_seed_0: Callable[[], Any], notes: Notes
) -> None:
    expected = draw_of_seed_0()
    seed(notes)
    assert draw() == expected


def test_whole_numbers_of_environment_variables_are_one_higher_for_the_training_alone(
    monkeypatch: pytest.MonkeyPatch, notes: Notes, tmp_path: Path
) -> None:
    monkeypatch.setenv("FOLD", "41")
    monkeypatch.setenv("NETWORK", "resnet18")
    surroundings.change_variables(notes)
    assert (os.environ["NETWORK"], os.getenv("NOT_SET"), call_in_a_library(os.getenv, "FOLD")) == (
        "resnet18",
        None,
        "41",
    )
    assert not (tmp_path / "notes").exists()
    assert (os.environ["FOLD"], os.getenv("FOLD"), os.environ.get("NOT_SET", 7)) == ("42", "42", 8)
