"""FeatureResult: an exact round trip through JSON, and a drawing of its spectrum."""

import json
import math
from dataclasses import fields
from typing import Literal

import numpy as np
import pytest
import torch
from matplotlib import pyplot
from matplotlib.figure import Figure
from torch import Tensor

from in4310repro.features import FeatureResult
from tests.features.conftest import Tangled, measure

Samples = Literal["images", "positions", "flat"]


def result_of(network: Tangled, images: Tensor, samples: Samples | None) -> FeatureResult:
    return measure(network, "conv1", images, samples)


@pytest.mark.parametrize("samples", ["images", "positions", "flat", None])
def test_a_result_is_the_same_to_the_bit_after_a_file_of_json(
    tangled: Tangled, images: Tensor, samples: Samples | None
) -> None:
    result = result_of(tangled, images, samples)
    again = FeatureResult.from_json(json.loads(json.dumps(result.to_json(), allow_nan=False)))
    for field in fields(FeatureResult):
        if field.name not in ("moments", "gram"):
            assert getattr(again, field.name) == getattr(result, field.name)
    assert (again.moments is None, again.gram is None) == (result.moments is None, result.gram is None)
    if samples is not None:
        assert torch.equal(again.eigenvalues(), result.eigenvalues())
    if samples in ("images", "positions"):
        assert torch.equal(again.mean, result.mean)
        assert torch.equal(again.covariance, result.covariance)


def test_what_is_no_result_is_refused_with_the_names_that_are_wrong(tangled: Tangled, images: Tensor) -> None:
    content = result_of(tangled, images, "images").to_json()
    with pytest.raises(ValueError, match=r"^Rows, rows: missing or unknown; a result has correction, gram"):
        FeatureResult.from_json({"Rows" if key == "rows" else key: value for key, value in content.items()})
    content["moments"].pop("shift")
    with pytest.raises(ValueError, match=r"^shift: missing or unknown; a result has offset, rows, scatter, shift$"):
        FeatureResult.from_json(content)


def test_a_number_that_is_none_stays_one_and_a_text_is_no_number(tangled: Tangled, images: Tensor) -> None:
    content = result_of(tangled, images, "images").to_json()
    content["moments"]["offset"][:3] = [math.nan, math.inf, None]
    offset = FeatureResult.from_json(json.loads(json.dumps(content))).to_json()["moments"]["offset"]
    assert str(offset) == str(content["moments"]["offset"])
    content["moments"]["offset"][0] = "1.5"
    with pytest.raises((TypeError, ValueError), match="str"):
        FeatureResult.from_json(content)


def test_a_plot_draws_the_eigenvalues_that_were_asked_for(tangled: Tangled, images: Tensor) -> None:
    result = result_of(tangled, images, "positions")
    axes = Figure().add_subplot()
    assert result.plot(axes, k=5) is axes
    (line,) = axes.get_lines()
    assert np.asarray(line.get_xdata()).tolist() == [1, 2, 3, 4, 5]
    assert np.asarray(line.get_ydata()).tolist() == result.eigenvalues(5).tolist()
    assert (axes.get_yscale(), line.get_marker()) == ("log", ".")
    with pytest.raises(ValueError, match="13 eigenvalues asked for"):
        result.plot(axes, k=13)


def test_a_plot_without_axes_makes_a_figure(tangled: Tangled, images: Tensor) -> None:
    pyplot.switch_backend("agg")
    axes = result_of(tangled, images, "images").plot()
    assert len(axes.get_lines()) == 1
    pyplot.close("all")
