"""A batch is in the results of all modules or of none, or there is no result, wherever an error ends a measurement."""

import contextlib
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from in4310repro.features import FeatureStatistics, hooks
from in4310repro.features.blocks import BLOCK
from in4310repro.features.stream import Stream

ABORTED = "a forward pass was aborted"
WATCHED = (str(Path(hooks.__file__).parent), str(nn.modules.module.__file__))
STEP = 11  # of lines
IMAGES = torch.arange(-40.0, 40.0).reshape(40, 1, 1, 2)


def contents(statistics: FeatureStatistics) -> list[object]:
    return [result.to_json() for result in statistics.result().values()]


def raise_at_line(number: int, error: type[BaseException], act: Callable[[], object]) -> bool:
    """Call a function, and raise an error at a line of the statistics or of torch's hooks; return whether it ran."""
    lines, before = count(), sys.gettrace()

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if not frame.f_code.co_filename.startswith(WATCHED):
            return None
        if event == "line" and next(lines) == number:
            raise error
        return trace

    sys.settrace(trace)
    try:
        act()
    except error:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.parametrize(
    ("samples", "error"), [("images", KeyboardInterrupt), ("positions", MemoryError), ("flat", SystemExit)]
)
def test_an_error_at_any_line_of_a_pass_leaves_a_whole_batch_or_nothing_of_it_or_no_result(
    samples: Literal["images", "positions", "flat"], error: type[BaseException]
) -> None:
    model = nn.Sequential(nn.BatchNorm2d(1), nn.BatchNorm2d(1))

    def measured(batches: int) -> FeatureStatistics:
        statistics = FeatureStatistics(model, ["0", "1"], samples, histogram=True, top_images=1)
        with statistics:
            for _ in range(batches):
                model(IMAGES)
        return statistics

    nothing, whole = contents(measured(1)), contents(measured(2))
    results = []
    for line in count(step=STEP):
        with FeatureStatistics(model, ["0", "1"], samples, histogram=True, top_images=1) as statistics:
            model(IMAGES)
            if not raise_at_line(line, error, lambda: model(IMAGES)):
                break
        if statistics._forward.aborted or statistics._forward.changed:
            with pytest.raises(ValueError, match=ABORTED):
                statistics.result()
        else:
            results.append(contents(statistics))
    assert {str(result) for result in results} == {str(nothing), str(whole)}
    assert line > 200  # of both modules


class Catching(nn.Module):
    """A model that goes on where a module of it fails."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Identity(), nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        with contextlib.suppress(ValueError):
            self.second(self.first(images).long() if self.first(images).sum() > 0 else images)
        return images


def test_an_error_that_the_model_catches_leaves_no_result() -> None:
    model = Catching()
    with FeatureStatistics(model, ["first", "second"], samples=None) as statistics:
        for images in (IMAGES, IMAGES.abs(), IMAGES):
            model(images)
    with pytest.raises(ValueError, match=ABORTED):
        statistics.result()


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let the second call of the functions that change a stream run out of memory after it has; return their count."""
    calls = [0]

    def replace(function: Any) -> Callable[..., None]:
        def fail(*args: Any) -> None:
            function(*args)
            calls[0] += 1
            if calls[0] == 2:
                raise MemoryError

        return fail

    for name in ("update", "merge", "restore"):
        monkeypatch.setattr(Stream, name, replace(getattr(Stream, name)))
    return calls


def test_an_error_in_the_second_of_several_modules_or_ranks_adds_nothing_by_merging_or_loading(
    failing: list[int],
) -> None:
    model, parts = nn.Sequential(nn.Identity(), nn.Tanh()), []
    for place in range(3):
        failing[0] = 2
        with FeatureStatistics(model, ["0", "1"], "images", first_image=place * BLOCK, top_images=1) as statistics:
            model(IMAGES)
        parts.append(statistics)
    first, before = parts[0], contents(parts[0])
    for others in (parts[1:2], parts[1:]):
        failing[0] = 0
        with pytest.raises(MemoryError):
            first.merge(*others)
        assert contents(first) == before
    with pytest.raises(ValueError, match="images 0 to 39 were measured before"):
        first.merge(parts[1], parts[0])
    assert contents(first) == before
    failing[0], again = 0, first.fresh()
    with pytest.raises(MemoryError):
        again.load_state_dict(first.state_dict())
    again.load_state_dict(first.state_dict())
    assert contents(again) == before
    first.merge(*parts[1:])
    assert first.result()["1"].images == 3 * len(IMAGES)


@pytest.mark.usefixtures("failing")
def test_a_measurement_that_fails_outside_of_a_pass_leaves_no_result() -> None:
    model = nn.Sequential(nn.Identity())
    with FeatureStatistics(model, ["0"], "images") as statistics:
        model[0](IMAGES)
        with pytest.raises(MemoryError):
            model[0](IMAGES)
        model[0](IMAGES)
        model(IMAGES)
    with pytest.raises(ValueError, match=ABORTED):
        statistics.result()


def test_a_batch_that_is_refused_before_it_is_measured_leaves_those_before() -> None:
    model = nn.Sequential(nn.Identity())
    for refused in (torch.full((2, 1, 1, 2), 1e300, dtype=torch.float64), torch.ones(2, 1, 1, 2).long()):
        with FeatureStatistics(model, ["0"], "images") as statistics:
            model(IMAGES)
            with pytest.raises(ValueError, match="module '0': "):
                model(refused)
            model(IMAGES)
        assert statistics.result()["0"].images == 2 * len(IMAGES)
    with FeatureStatistics(model, ["0"], "images", on_non_finite="raise") as statistics:
        model(IMAGES)
        with pytest.raises(ValueError, match="values are not finite"):
            model(IMAGES / 0)
    with pytest.raises(ValueError, match=ABORTED):
        statistics.result()
