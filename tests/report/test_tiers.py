"""The tier of each number: by figure and key as the table of the page says, and in the number's link."""

from dataclasses import replace
from typing import Any

from in4310repro.report.exhibit import Exhibit, Number
from in4310repro.report.verdict import Places, Tier, make_tier_lookup, tiers
from in4310repro.runs.deviations import parse
from in4310repro.runs.finished import FinishedRun


def test_each_number_has_the_tier_of_the_row_that_names_its_figure_and_key(
    run: FinishedRun, all_exhibits: list[Exhibit]
) -> None:
    setting, best = run.metrics["setting"], run.metrics["epoch"] - 1
    other = 1 - best
    numbers: dict[str, list[tuple[Any, ...]]] = {
        "exact": [(1, "images", 0), (12, "confusion_matrix", 0, 1), (14, "bins", 0, "correct"), (5, "epoch", 0)],
        "test": [(4, "ours", "accuracy"), (7, "ranked", "sea", "top", 0, "score"), (14, "bins", 0, "accuracy")],
        "validation": [*((number, "ours", "accuracy") for number in (1, 2, 3)), (5, "val_loss", best)],
        "epoch": [(5, "train_loss", best), (5, "val_loss", other), (6, "mean_class_accuracy", setting, other)],
        "shares": [(8, "ours", "conv1")],
        "activations": [(15, "sets", 0, "modules", "conv1", "quantiles", "0.5")],
        "numerical": [(number, "eigenvalues", "conv1", 0) for number in (9, 10, 11)],
        "printed": [(number, "original", "accuracy") for number in (1, 2, 3, 4, 8)],
    }
    numbers["validation"] += [(6, "mean_class_accuracy", setting, best), (6, "accuracy", setting)]
    known, of = tiers(run), make_tier_lookup(run, all_exhibits)
    assert set(known) == set(numbers)
    for group, listed in numbers.items():
        for number, *keys in listed:
            assert of(Number("", 0.0, f"figure{number:02d}.json", tuple(keys))) == known[group], (number, keys)
            assert f"figure{number:02d}" in known[group].places or number in (2, 3, 5, 10)


def test_the_table_says_what_the_arithmetic_a_deviation_and_a_fit_of_the_head_change(run: FinishedRun) -> None:
    fingerprint: Any = {**run.fingerprint, "numerics": "native", "numeric_class": "one"}
    for each, exact in ((replace(run, fingerprint=fingerprint), "0 where no prediction changes"), (run, "0")):
        assert tiers(each)["exact"].tolerance == exact
    scored = replace(run, config=replace(run.config, protocol=parse("test-loss-each-epoch")))
    for each, more in ((run, False), (scored, True)):
        row = tiers(each)["epoch"]
        assert row.numbers.startswith("training losses; validation metrics and losses of other epochs")
        assert row.places.startswith("figure05 /train_loss; figure05 /val_loss")
        assert ("test losses" in row.numbers) == ("/test_loss" in row.places) == more
    another = next(name for name in run.histories if name != run.metrics["setting"])
    fits: Any = [{**row, "strength": 0.1} for row in run.histories[another]]
    fitted = replace(run, histories={**run.histories, another: fits})
    assert ["fit" in tiers(each) for each in (run, fitted)] == [False, True]


def test_a_number_is_a_link_to_its_one_entry_with_file_key_and_tier() -> None:
    places = Places(lambda _: Tier("", "", "exact", "0", "verify"))
    for _ in range(2):
        assert places.link(Number("3", 3, "figure12.json", ("images", "a<b"))) == (
            '<a class="n" href="#n0" title="figure12.json /images/a&lt;b: exact, tolerance 0">3</a>'
        )
