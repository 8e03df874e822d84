"""What a kernel is told of memory is checked before it believes it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from in4310repro.arithmetic.library import checked, library


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
    with pytest.raises(ValueError, match="valid are values side by side on the CPU"):
        softmax(scores)


def test_another_dtype_or_shape_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"weight: torch.float64 of shape \(2,\) on cpu; valid is torch.float32"):
        checked("weight", torch.ones(2, dtype=torch.float64), torch.float32, (3,))
