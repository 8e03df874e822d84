"""Cells, statements and effects of the experiment, and its page."""

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from in4310repro.metrics.scores import Scores
from in4310repro.report.published_numbers import original
from in4310repro.runs.deviations import parse
from in4310repro.runs.presets import configure
from in4310repro.system.files import read_json
from tests.experiment import cells, page, precisions
from tests.experiment.effects import contrast, measure_effect, of_seeds, parse_contrast
from tests.experiment.statements import STATEMENTS, printed_as_run

PREDICTIONS = cells.read_predictions()
SCRATCH = {"weights": "none", "image_size": 64, "batch_size": 32, "split": "12034/2000/3000"}


def test_every_statement_of_the_predictions_is_computed_and_holds_of_the_printed_numbers() -> None:
    assert [each["name"] for each in PREDICTIONS["statements"]] == list(STATEMENTS)
    assert all(check(printed_as_run()) for check in STATEMENTS.values())


@pytest.mark.parametrize("name", STATEMENTS)
def test_every_statement_can_fail(name: str) -> None:
    run = printed_as_run()
    flat = {"class_accuracy": [0.95] * 6, "average_precision": [0.99] * 6, "mean_class_accuracy": 0.95}
    run["settings"] = {key: {**setting, **flat} for key, setting in run["settings"].items()}  # type: ignore[typeddict-item]
    run["test"] = {**run["test"], **flat}  # type: ignore[typeddict-item]
    assert not STATEMENTS[name](run)


@pytest.mark.parametrize("cell", PREDICTIONS["cells"])
def test_a_run_is_recognised_as_its_cell_by_its_configuration(cell: str) -> None:
    options = cells.options_of("scratch", cell, PREDICTIONS)
    config = replace(
        configure("course", None, SCRATCH | {"split": options.get("split", "12034/2000/3000")}),
        protocol=parse(options["protocol"]),
        epochs=int(options.get("epochs", 20)),
    )
    assert cells.cell_of(config, PREDICTIONS) == ("scratch", cell)


@pytest.mark.parametrize(
    "change", [{"image_size": 96}, {"protocol": parse("ap-from-logits")}, {"batch_size": 16}, {"epochs": 7}]
)
def test_a_run_that_is_no_cell_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"is no cell of predictions\.toml"):
        cells.cell_of(replace(configure("course", None, SCRATCH), **change), PREDICTIONS)


def make_cell(correct: np.ndarray, sizes: dict[str, int], images: str = "a") -> cells.Cell:
    return {"summary": {"supports": sizes}, "test": {"paths_sha256": images, "correct": cells.pack(correct)}}


def draw(seed: int, images: int = 90) -> np.ndarray:
    return np.random.default_rng(seed).random(images) < 0.8


SIZES = {"cat": 30, "dog": 60}


def test_a_contrast_is_the_difference_of_mean_class_accuracies() -> None:
    one, other = draw(1), draw(2)
    found, _ = contrast({"a": make_cell(one, SIZES), "b": make_cell(other, SIZES)}, parse_contrast("a - b", 1))
    by_hand = (one[:30].mean() - other[:30].mean() + one[30:].mean() - other[30:].mean()) / 2
    assert found == pytest.approx(by_hand, abs=1e-12)


def test_the_standard_error_of_a_contrast_is_that_of_a_bootstrap_over_images_within_classes() -> None:
    one, other = draw(1), draw(2)
    other[:40] = one[:40]
    weights = parse_contrast("a - b", 1)
    _, ours = contrast({"a": make_cell(one, SIZES), "b": make_cell(other, SIZES)}, weights)
    _, unpaired = contrast({"a": make_cell(one, SIZES), "b": make_cell(other, SIZES, "b")}, weights)
    generator, draws = np.random.default_rng(0), []
    for _ in range(4000):
        chosen = [generator.integers(0, 30, 30), 30 + generator.integers(0, 60, 60)]
        draws.append(np.mean([one[rows].mean() - other[rows].mean() for rows in chosen]))
    # A bootstrap divides by n and not by n - 1, and 4,000 draws know their spread to 1.1 %.
    assert ours == pytest.approx(np.std(draws), rel=0.05)
    assert unpaired > 1.2 * ours


def test_the_interaction_is_the_effect_of_a_warm_start_with_a_shared_split_less_that_without() -> None:
    rows = {name: make_cell(draw(seed), SIZES) for seed, name in enumerate(PREDICTIONS["cells"])}
    interaction = next(each for each in PREDICTIONS["effects"] if each["name"] == "interaction")
    value, _ = contrast(rows, parse_contrast(interaction["of"], interaction["divisor"]))
    with_shared, _ = contrast(rows, parse_contrast("shared-warm - shared", 1))
    without, _ = contrast(rows, parse_contrast("separate-warm - separate", 1))
    assert value == pytest.approx(with_shared - without, abs=1e-12)


@pytest.mark.parametrize("effect", PREDICTIONS["effects"], ids=lambda effect: effect["name"])
def test_the_weights_of_an_effect_add_up_to_nothing(effect: dict[str, Any]) -> None:
    assert sum(parse_contrast(effect["of"], effect["divisor"]).values()) == 0


def test_an_effect_is_of_the_seeds_that_all_its_cells_have() -> None:
    rows = {"a": {s: make_cell(draw(int(s)), SIZES) for s in "012"}, "b": {s: make_cell(draw(9), SIZES) for s in "12"}}
    found = measure_effect(rows, parse_contrast("a - b", 1))
    assert found is not None
    assert list(found["seeds"]) == ["1", "2"]
    assert measure_effect({"a": rows["a"]}, parse_contrast("a - b", 1)) is None


def test_one_seed_has_no_interval_over_seeds_and_two_have_a_wide_one() -> None:
    assert of_seeds([0.5]) is None
    low, high = of_seeds([0.4, 0.6]) or (0, 0)
    # Student's t of one degree of freedom: 12.706 standard errors of 0.1.
    assert (low, high) == pytest.approx((0.5 - 1.2706, 0.5 + 1.2706), abs=1e-4)


def test_images_are_kept_in_the_order_of_their_paths() -> None:
    softmax = np.eye(2, dtype=np.float32)[[0, 1, 1]]
    scores = Scores(("c", "a", "b"), np.array([0, 0, 1]), softmax, 0.0)
    kept = cells.pack(cells.correct_images(scores))
    assert cells.unpack(kept, 3).tolist() == [False, True, True]


def test_a_printed_precision_is_placed_among_pairs_of_about_its_accuracy() -> None:
    near = [[0.9, precision] for precision in np.linspace(0.8, 0.99, 39)]
    far = [[0.5, 0.1]] * 100
    printed = {"class_accuracy": [0.9, 0.5], "average_precision": [0.895, 0.1]}
    found = precisions.compare(printed, np.array(near + far))  # type: ignore[arg-type]
    assert found[0]["near"] == 39
    assert found[0]["lower"] == pytest.approx(0.5, abs=0.02)
    assert found[1]["lower"] == 0.5  # all are equal to it
    assert precisions.compare(printed, np.array(near[:20]))[0]["lower"] is None  # type: ignore[arg-type]


def test_the_printed_counts_are_those_that_the_audit_infers() -> None:
    printed = page.printed_counts(read_json(page.FILE))
    assert printed.networks[2] == (460, 479, 514, 527, 486, 506)
    assert (sum(printed.images), sum(printed.second)) == (3000, 2964)


def test_the_page_on_the_experiment_is_what_its_numbers_give() -> None:
    kept = read_json(page.FILE)
    assert page.PAGE.read_text(encoding="utf-8") == page.render(kept)
    assert page.CHART.read_text(encoding="utf-8") == page.draw_chart(kept)


def test_a_cell_that_was_not_run_has_no_outcome_on_the_page() -> None:
    kept = read_json(page.FILE)
    for network, name in itertools.product(PREDICTIONS["networks"], PREDICTIONS["cells"]):
        rows = page.chances_and_outcomes(kept, network, PREDICTIONS)
        ran = bool(kept.get(network, {}).get(name))
        assert all(bool(row["holds"]) == ran for row in rows if row["cell"] == name)
    assert original()["chosen"] == "sgd"
