"""Wrong twins: pairs of trainings for which a sentence that `diff` can say would be false, and is not said."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from in4310repro.trace import Comparison, Trace, compare, read_trace
from in4310repro.trace.evidence import Cause
from in4310repro.trace.verdict import Verdict
from tests.trace.recording import batches, edit_head, network, record

IMAGES = torch.randn(16, 6, generator=torch.Generator().manual_seed(0))


def codes(found: Comparison) -> list[str]:
    assert found.verdict
    return [each.code for each in found.verdict.causes]


def cause(found: Comparison) -> str:
    return found.text().partition("\n")[0]


def trained(path: Path, steps: int = 2, before: Callable[[int, Any], object] = lambda *_: None, **given: Any) -> Any:
    """Train a perceptron with dropout, and return its trace."""
    torch.manual_seed(1)
    model: Any = nn.Sequential(nn.Linear(6, 8), nn.Dropout(given.get("p", 0.5)), nn.Linear(8, 2))
    optimizer = given.get("optimizer", torch.optim.SGD)(model.parameters(), lr=given.get("lr", 0.1))
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, given.get("gamma", 1.0))
    with Trace(model, optimizer, path) as trace:
        for number in range(steps):
            before(number, model)
            with trace.step(images=given.get("images", IMAGES)) as step:
                with torch.autocast("cpu", torch.bfloat16, enabled=given.get("autocast", False)):
                    loss = model(given.get("images", IMAGES)).square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                step.record(loss=loss)
    return read_trace(path)


def pair(tmp_path: Path, plain: dict[str, Any] | None = None, **given: Any) -> Comparison:
    return compare(trained(tmp_path / "a.trace", **(plain or {})), trained(tmp_path / "b.trace", **given))


def test_a_generator_that_never_moves_is_not_blamed_for_another_dropout(tmp_path: Path) -> None:
    random.seed(1)
    first = trained(tmp_path / "a.trace")
    random.seed(2)
    found = compare(first, trained(tmp_path / "b.trace", p=0.25))
    assert cause(found) == "CAUSE  1: p=0.5 and p=0.25."
    assert "python" not in " ".join(found.verdict.why if found.verdict else ())


def test_a_generator_that_differs_is_blamed_for_the_same_dropout(tmp_path: Path) -> None:
    found = pair(tmp_path, before=lambda number, _: torch.manual_seed(5) if number else None)
    assert codes(found) == ["randomness"]
    assert found.difference
    assert found.difference.step == 1


def test_a_state_that_the_loop_keeps_is_not_the_recorded_batch(tmp_path: Path) -> None:
    traces = []
    for value in (0.0, 1.0):
        torch.manual_seed(0)
        model = nn.LSTM(6, 4)
        with Trace(model, None, tmp_path / f"{value}.trace") as trace, trace.step(images=IMAGES):
            model(IMAGES, (torch.full((1, 4), value), torch.zeros(1, 4)))
        traces.append(read_trace(tmp_path / f"{value}.trace"))
    assert cause(compare(*traces)) == "CAUSE  an input that is not the recorded batch."


def test_weights_that_differ_by_rounding_are_not_another_seed_or_file(tmp_path: Path) -> None:
    record(tmp_path / "a.trace")
    model = network()
    with torch.no_grad():
        generator = torch.Generator().manual_seed(3)
        for each in model.parameters():
            each.mul_(1 + 1e-7 * torch.randn(each.shape, generator=generator))
    record(tmp_path / "b.trace", model=model)
    first = edit_head(tmp_path / "a.trace", vectors="AVX2")
    found = compare(first, edit_head(tmp_path / "b.trace", vectors="DEFAULT"))
    assert codes(found) == ["environment", "rounding"]
    assert "other rounding by vectors AVX2 and DEFAULT" in cause(found)


@pytest.mark.parametrize(
    ("head", "expected"), [({}, ["initial-weights", "seed"]), ({"vectors": "x"}, ["initial-weights", "seed"])]
)
def test_other_weights_are_not_called_rounding_by_another_processor(
    head: dict[str, str], expected: list[str], tmp_path: Path
) -> None:
    record(tmp_path / "a.trace")
    record(tmp_path / "b.trace", model=network(seed=3))
    found = compare(read_trace(tmp_path / "a.trace"), edit_head(tmp_path / "b.trace", **head))
    assert codes(found) == expected


def test_one_image_of_equal_norm_is_augmentation_and_not_another_order(tmp_path: Path) -> None:
    turned = IMAGES.clone()
    turned[3] = turned[3].flip(0)
    found = pair(tmp_path, images=turned)
    assert codes(found)[0] == "augmentation"
    assert "images 3" in found.text()


def test_one_percent_of_a_learning_rate_is_not_rounding(tmp_path: Path) -> None:
    assert cause(pair(tmp_path, lr=0.101)) == "CAUSE  lr 0.1 and 0.101."
    found = pair(tmp_path, {"lr": 1e-7}, lr=1.01e-7)
    assert codes(found) == ["optimizer-option"]


class Scaled(torch.optim.SGD):
    """SGD whose updates are 1 % larger than its options say."""

    def step(self, closure: Any = None) -> Any:
        before = [each.detach().clone() for each in self.param_groups[0]["params"]]
        result = super().step(closure)
        with torch.no_grad():
            for each, old in zip(self.param_groups[0]["params"], before, strict=True):
                each.copy_(old + (each - old) * 1.01)
        return result


Scaled.__qualname__ = "SGD"


def test_an_update_that_differs_by_one_percent_for_another_reason_is_not_rounding(tmp_path: Path) -> None:
    found = pair(tmp_path, {"lr": 1e-4}, lr=1e-4, optimizer=Scaled)
    assert found.verdict
    assert codes(found) == ["update", "edited"]


def test_the_rate_after_a_scheduler_within_the_step_is_not_that_of_the_step(tmp_path: Path) -> None:
    found = pair(tmp_path, gamma=0.5)
    # The first update had the same rate in both; the second had not.
    assert found.difference
    assert (found.difference.step, codes(found)) == (1, ["optimizer-option"])
    assert cause(found) == "CAUSE  lr 0.1 and 0.05."


def test_autocast_is_named_and_no_order_of_sums(tmp_path: Path) -> None:
    found = pair(tmp_path, autocast=True)
    assert codes(found)[0] == "autocast"
    assert "rounding" not in codes(found)


def test_running_statistics_are_not_the_optimizers(tmp_path: Path) -> None:
    def forward(number: int, model: Any) -> None:
        if number == 1:
            model(batches()[0]["images"])

    first = record(tmp_path / "a.trace")
    found = compare(first, record(tmp_path / "b.trace", before=forward))
    assert codes(found) == ["edited"]
    assert "as by a forward pass in training mode" in cause(found)
    assert "optimizer" not in found.text()


def test_a_layer_that_is_frozen_in_one_has_a_gradient_in_the_other(tmp_path: Path) -> None:
    found = pair(tmp_path, before=lambda _, model: model[0].requires_grad_(requires_grad=False))
    assert found.difference
    assert (found.difference.phase, codes(found)) == ("backward", ["frozen"])
    assert cause(found) == "CAUSE  0.bias, 0.weight frozen in B alone."


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda weight: weight.data.clamp_(-0.01, 0.01), ["edited"]),
        (lambda _: None, []),
    ],
    ids=["clamped", "left"],
)
def test_only_a_parameter_that_was_edited_is_said_to_be(
    edit: Callable[[Tensor], object], expected: list[str], tmp_path: Path
) -> None:
    found = pair(tmp_path, before=lambda number, model: edit(model[2].weight) if number == 1 else None)
    assert (codes(found) if found.verdict else []) == expected


def test_a_factor_of_losses_is_named_if_it_is_whole_and_not_otherwise(tmp_path: Path) -> None:
    for scale, expected in ((4.0, ["scale"]), (1.37, ["loss"])):
        first = record(tmp_path / "a.trace")

        def loss(scores: Tensor, labels: Tensor, scale: float = scale) -> Tensor:
            return nn.functional.cross_entropy(scores, labels) * scale

        assert codes(compare(first, record(tmp_path / "b.trace", loss=loss))) == expected


def test_an_answer_with_long_phrases_has_at_most_sixty_words_and_all_causes() -> None:
    causes = tuple(Cause(code, "a phrase of many words " * 10) for code in ("a", "b", "c", "arguments", "source"))
    found = Verdict(causes, certain=False, where={}, place="a place of many words " * 8, attempt="try this.", why=())
    text = found.text()
    assert len(text.split()) <= 60
    assert text.partition(" Differs")[0].count(";") == 2
