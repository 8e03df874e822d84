"""The figure of memory by number of images agrees with its numbers, and memory grows within the limit."""

import sys

import pytest

from benchmarks import memory
from in4310repro.system.files import read_json


def test_the_figure_is_drawn_from_its_numbers() -> None:
    assert memory.FIGURE.read_text(encoding="utf-8") == memory.draw_figure_of(memory.NUMBERS)


def test_no_command_grows_by_more_than_two_kilobytes_an_image() -> None:
    numbers = read_json(memory.NUMBERS)
    assert (numbers["images"][0], numbers["images"][-1]) == (1000, 64000)
    assert numbers["peak_bytes"].keys() == set(memory.COMMANDS)
    assert all(
        grown <= memory.LIMIT for grown in memory.compute_growth(numbers["images"], numbers["peak_bytes"]).values()
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="RssAnon is Linux's")
def test_memory_measured_now_grows_by_no_more() -> None:
    images = (1000, 9000)
    peaks = memory.measure(images, ("train", "data check"))
    assert all(grown <= memory.LIMIT for grown in memory.compute_growth(images, peaks).values()), peaks
