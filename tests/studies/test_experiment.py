"""Cells, statements and effects of the experiment, and its page."""

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from in4310repro.metrics.scores import Scores
from in4310repro.report.exhibit import original
from in4310repro.runs.deviations import parse
from in4310repro.runs.presets import configure
from in4310repro.system.files import read_json
from studies.experiment import cells, counts, page, precisions
from studies.experiment.effects import contrast, measure_effect, of_seeds, parse_contrast
from studies.experiment.statements import PRINTED_LEVEL, STATEMENTS, printed_as_run

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
    "change",
    [
        {"image_size": 96},
        {"protocol": parse("ap-from-logits")},
        {"batch_size": 16},
        {"epochs": 7},
        {"std": (0.5, 0.5, 0.5)},
        {"interpolation": "bicubic"},
        {"augmentation": "none"},
    ],
)
def test_a_run_that_is_no_cell_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"is no cell of predictions\.toml"):
        cells.cell_of(replace(configure("course", None, SCRATCH), **change), PREDICTIONS)


def make_cell(correct: np.ndarray, sizes: dict[str, int], images: str = "a") -> cells.Cell:
    summary = {"supports": sizes, "test": {"mean_class_accuracy": float(correct.mean())}}
    return {"summary": summary, "test": {"paths_sha256": images, "correct": cells.pack(correct)}}


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
    precision = np.linspace(0.8, 0.99, 39)
    near = np.stack([0.9 + np.tile([-1e-3, 0, 1e-3], 13), precision], axis=1).tolist()
    far = [[0.5 + side, 0.1] for side in [-1e-3, 1e-3] * 50]
    printed = {"class_accuracy": [0.9, 0.5], "average_precision": [0.895, 0.1]}
    found = precisions.compare(printed, np.array(near + far))  # type: ignore[arg-type]
    assert found[0]["near"] == 39
    assert found[0]["lower"] == pytest.approx(0.5, abs=0.02)
    assert found[1]["lower"] == 0.5  # all are equal to it
    assert precisions.compare(printed, np.array(near[:20]))[0]["lower"] is None  # type: ignore[arg-type]


def test_a_printed_precision_is_not_placed_among_pairs_of_lower_accuracy_alone() -> None:
    pairs = np.array([[0.89, precision] for precision in np.linspace(0.8, 0.99, 39)])
    printed = {"class_accuracy": [0.9], "average_precision": [0.9]}
    assert precisions.compare(printed, pairs)[0] == {"near": 39, "lower": None}  # type: ignore[arg-type]


def test_an_average_bayes_factor_is_of_probabilities_and_not_of_logarithms() -> None:
    rows = [{"log10": {"rival": [-3.0], "shared": [-1.0]}}, {"log10": {"rival": [-1.0], "shared": [-3.0]}}]
    found = page.bayes_factors(rows, "shared", 0)
    assert (found["low"], found["high"], found["for"], found["against"]) == (-2, 2, 1, 1)
    assert found["average"] == pytest.approx(0, abs=1e-12)
    rows[0]["log10"]["shared"] = [-0.0]
    # (1 + 1e-3) / (1e-3 + 1e-1), and not the mean of +3 and -2.
    assert page.bayes_factors(rows, "shared", 0)["average"] == pytest.approx(np.log10(1.001 / 0.101), abs=1e-12)


def test_chances_are_scored_by_the_first_seed_of_cells_of_which_nothing_was_known() -> None:
    rows = [
        {"chance": 0.2, "known": False, "holds": [True, False]},
        {"chance": 0.99, "known": False, "holds": [True]},
        {"chance": 0.5, "known": True, "holds": [False]},
        {"chance": 0.5, "known": False, "holds": []},
    ]
    assert page.brier(rows) == {"statements": 2, "error": pytest.approx((0.64 + 0.0001) / 2)}
    assert page.brier(rows, 0.05, 0.95) == {"statements": 1, "error": pytest.approx(0.64)}
    assert page.brier(rows[2:]) is None


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


def test_statements_that_hold_are_named_by_cell_and_surprises_are_those_of_small_chances() -> None:
    rows = [
        {"name": "one", "cell": "a", "chance": 0.05, "known": False, "holds": [True, False]},
        {"name": "two", "cell": "a", "chance": 0.95, "known": False, "holds": [True]},
        {"name": "three", "cell": "a", "chance": 0.95, "known": False, "holds": [False]},
        {"name": "one", "cell": "b", "chance": 0.05, "known": True, "holds": [False]},
        {"name": "one", "cell": "c", "chance": 0.05, "known": False, "holds": []},
    ]
    assert page.statements_held(rows) == {"a": ["one", "two"], "b": []}
    assert [page.is_surprise(row) for row in rows] == [True, False, True, False, False]


def test_settings_of_which_every_epoch_has_the_same_bits_are_one_training() -> None:
    def run(*epochs: str, best: str = "") -> dict[str, dict[str, str]]:
        hashes = {f"{name}/tensors.json": sha256 for name, sha256 in zip(("adamw", "sgd"), epochs, strict=True)}
        return {"files_sha256": {**hashes, "adamw/best.safetensors": best}}

    kept = {"a": {"0": run("x", "y", best="1"), "1": run("z", "z")}, "b": {"0": run("x", "y", best="2")}}
    kept["c"] = {"0": run("x", "u")}
    same = ("`a` of seed 0", "`b` of seed 0")
    assert page.same_trainings(kept) == {(*same, "`c` of seed 0"): ["adamw"], same: ["sgd"]}


def test_settled_outcomes_follow_from_other_runs_or_from_the_same_images_and_are_not_scored() -> None:
    kept = read_json(page.FILE)
    for network, of_network in kept.items():
        summaries = {cell: seeds["0"]["summary"] for cell, seeds in of_network.items()}
        first = {cell: STATEMENTS["first"](summary) for cell, summary in summaries.items()}
        assert (first["separate-warm"], first["shared"]) == (first["separate"], first["published"])
        shared = summaries["shared"]
        assert shared["test"]["class_accuracy"] == shared["settings"][shared["selected"]]["class_accuracy"]
        if network in page.SETTLED["shared", "level"]:
            # The first setting of `published` is the same training, and selection can only raise its level.
            assert summaries["published"]["settings"]["adamw"]["mean_class_accuracy"] > PRINTED_LEVEL
        rows = page.chances_and_outcomes(kept, network, PREDICTIONS)
        for (cell, name), networks in page.SETTLED.items():
            known = [row["known"] for row in rows if (row["cell"], row["name"]) == (cell, name)]
            assert known == [network in networks]
    assert {cell for cell, _ in page.SETTLED} == {"separate-warm", "shared"}
    assert {name for _, name in page.SETTLED} == {"first", "two-looks", "level"}


def test_the_file_of_counts_has_the_levels_of_the_cells_and_the_probabilities_of_these() -> None:
    kept, computed = read_json(page.FILE), read_json(page.COUNTS)
    printed = page.printed_counts(kept)
    for network in kept:
        levels = page.expected_levels(kept, network, PREDICTIONS)
        assert computed[network]["levels"] == levels
        row = computed[network]["rows"][-1]
        for reading, (ours, all_) in row["log10"].items():
            prior = {"width": row["width"], "spread": row["spread"], "same_images": page.READINGS[reading]}
            for value, which, expected in (
                (ours, printed.last_network(), levels[reading][3:]),
                (all_, printed, levels[reading][:3]),
            ):
                assert value == pytest.approx(counts.log10_probability(which, expected, **prior), abs=1e-9)


def test_the_first_setting_of_a_warm_start_is_that_of_the_cell_without_one() -> None:
    kept = read_json(page.FILE)
    for of_network in kept.values():
        first = {cell: seeds["0"]["files_sha256"]["adamw/tensors.json"] for cell, seeds in of_network.items()}
        for cell in ("separate", "shared"):
            assert first[cell] == first[f"{cell}-warm"]


def test_cells_are_kept_in_the_order_of_the_predictions_and_of_the_seeds() -> None:
    kept = read_json(page.FILE)
    assert cells.in_order(kept, PREDICTIONS) == kept
    for network, of_network in cells.in_order(kept, PREDICTIONS).items():
        assert list(kept[network]) == list(of_network)
    mixed: cells.Kept = {"scratch": {"shared": {"10": {}, "2": {}}, "published": {"0": {}}, "separate": {"0": {}}}}
    ordered = cells.in_order(mixed, PREDICTIONS)["scratch"]
    assert (list(ordered), list(ordered["shared"])) == (["separate", "shared", "published"], ["2", "10"])


def test_the_selected_network_is_expected_at_its_own_level_and_not_at_that_of_the_last() -> None:
    kept = read_json(page.FILE)
    for network in kept:
        levels = page.expected_levels(kept, network, PREDICTIONS)
        assert all(found[3] >= max(found[:3]) for found in levels.values())
        assert levels["separate"][3] > levels["separate"][2]  # AdamW was selected
