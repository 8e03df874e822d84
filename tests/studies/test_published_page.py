"""The page about the published numbers is made from runs; unsuitable runs are rejected."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from scipy import stats

from in4310repro.audit.verdicts import Audit
from in4310repro.metrics import class_metrics
from in4310repro.report.exhibit import original
from in4310repro.runs.config import to_json
from in4310repro.runs.deviations import PUBLISHED, parse
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.folder import RunFolder
from in4310repro.runs.presets import PRESETS
from in4310repro.runs.record_types import RunMetrics
from studies.ablation import read_report
from studies.published import __main__ as published_session, figures, page as published_page
from studies.published.evidence import Consequence, compare_counts, consequences, probability_of_equal_counts
from studies.published.numbers import format_as_toml, non_positive_percent, summarize
from tests.builders import rechain


@pytest.fixture
def runs(finished_run: Path, tmp_path: Path) -> list[FinishedRun]:
    """Return a run without deviations, and two copies that claim all published deviations and other seeds."""
    made = []
    for place, name in enumerate(("corrected", "published-0", "published-1")):
        # The page needs no weights.
        folder = shutil.copytree(finished_run, tmp_path / name, ignore=shutil.ignore_patterns("*.safetensors"))
        if place:
            run = RunFolder(folder)
            metrics = run.read_json("metrics.json")
            metrics["mean_class_accuracy"] = 0.97 + place / 100
            unseen = class_metrics(metrics) | {"images": 36, "loss": metrics["loss"], "mean_class_accuracy": 0.125}
            run.write_json("metrics.json", metrics | {"unseen": unseen})
            run.write_json("config.json", to_json(replace(PRESETS["tiny"], protocol=parse(PUBLISHED), seed=place)))
            rechain(folder)
        made.append(FinishedRun.open(folder))
    return made


def read_numbers(folder: Path) -> Any:
    return json.loads((folder / "published" / "numbers.json").read_text())


def write_ablation(file: Path, run: FinishedRun) -> Path:
    base = {"test accuracy": 0.5, "test mAP": 0.6, "accuracy on unseen images": None}
    base |= {"non-positive share, conv1": 0.5, "largest eigenvalue, conv1, test": 2.0}
    changed = base | {"test accuracy": 0.75, "accuracy on unseen images": 0.25}
    changed |= {"non-positive share, conv1": 0.48, "largest eigenvalue, conv1, test": 3.0}
    report = {
        "command": "nox -s ablation",
        "config": to_json(PRESETS["tiny"]),
        "fingerprint": run.fingerprint,
        "runs": {},
        "numbers": {"corrected": base, "warm-start": base, "shared-split": changed},
    }
    file.write_text(json.dumps(report))
    return file


def test_the_page_says_the_numbers_of_the_runs_of_the_report_and_of_an_ablation(
    runs: list[FinishedRun], tmp_path: Path
) -> None:
    ablation = write_ablation(tmp_path / "ablation.json", runs[0])
    written = published_page.write(runs[0], runs[1:], [ablation], tmp_path / "reports")
    assert {file.name for file in written} == {
        *("published.md", "numbers.json", "original.toml"),
        *("accuracy.png", "settings.png", "non_positive.png"),
    }
    text, numbers = (tmp_path / "reports" / "published.md").read_text(), read_numbers(tmp_path / "reports")
    assert "0.9882" in text
    assert "0.9800 to 0.9900" in text
    assert "| mean | 0.9882 | 0.9800 to 0.9900 | 0.1250 |" in text
    assert "| 461 | 475 | 395 | 474 | 490 | 330 | 2,625 | 375 |" in text
    assert numbers["corrected"]["test"]["mean_class_accuracy"] == runs[0].metrics["mean_class_accuracy"]
    for run in runs:
        assert numbers["runs"][run.folder.name]["files_sha256"] == run.files.manifest()
    assert "--out published-0" in text
    assert "| shared-split | +0.2500 | . | 0.2500 | -2.00 | 1.5 to 1.5 |" in text
    assert "| warm-start | . | . | - | . | . |" in text
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", text)
    assert len(pictures) == 3
    assert all((tmp_path / "reports" / picture).is_file() for picture in pictures)


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """Return what the page reads of an audit, which would take long, and leave pictures unwritten."""
    monkeypatch.setattr(published_page, "to_png", lambda _figure: b"")
    table = Mock(sizes={}, totals=[0], images=0)
    return Mock(spec=Audit, sizes=[Mock(taken={})], counted=[table], inconsistencies=(), oddities=())


def test_the_page_has_commands_means_the_first_setting_the_standard_error_and_no_change_of_the_corrected_run(
    printed: Mock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(figures, "draw_accuracies", drawn.append)
    numbers = json.loads((published_session.REPORTS / "published" / "numbers.json").read_text())
    ablation = read_report(published_session.REPORTS / "ablation" / "ablation.json")
    published_page.write_page(numbers, printed, [ablation], tmp_path)
    text = (tmp_path / "published.md").read_text()
    for name, record in numbers["runs"].items():
        trained = record["command"].partition(" && ")[0].replace("train --out runs/course ", "train ")
        assert f"\n{trained} --out {name}\n" in text
    corrected, first = numbers["corrected"], [run["settings"]["adamw"] for run in numbers["published"]]
    means = sorted(each["mean_class_accuracy"] for each in first)
    assert f"The first setting (adamw) has no warm start; it reaches {means[0]:.4f} to {means[-1]:.4f} on" in text
    legend = drawn[0]["legend"]
    assert legend["as printed"] == "as printed: mean 0.9882"
    assert legend["corrected protocol"].endswith(f": mean {corrected['test']['mean_class_accuracy']:.4f}")
    sizes = np.array([*corrected["supports"].values()])
    shares = stats.binom(sizes, corrected["test"]["class_accuracy"]).std() / sizes
    assert f"a standard error of {np.sqrt(np.sum(shares**2)) / 6:.4f}." in text
    assert "\n| shared-split |" in text
    assert "\n| corrected |" not in text


def test_evidence_is_added_to_a_page_that_exists(
    runs: list[FinishedRun], printed: Mock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "published").mkdir()
    (tmp_path / "published" / "numbers.json").write_text("{}")
    monkeypatch.setattr(published_page, "audit", lambda _file: printed)
    with pytest.raises(ValueError, match="trained from scratch; expected a run from ImageNet weights"):
        published_page.write_evidence(runs[0], runs[1:], [], tmp_path)


def test_the_printed_shares_are_corrected_for_208_counted_images(runs: list[FinishedRun]) -> None:
    shares = non_positive_percent(runs[0])
    assert list(shares["as printed"].values()) == [47.0, 65.2, 69.0, 63.9, 74.3]
    assert [round(share, 1) for share in shares["printed x 208/200"].values()] == [48.9, 67.8, 71.8, 66.5, 77.3]
    measured = runs[0].features
    assert measured is not None
    assert shares["ours"]["conv1"] == 100 * measured["sets"][0]["modules"]["conv1"]["non_positive"]


@pytest.mark.parametrize(
    ("seen", "unseen", "holds"), [(0.99, 0.2, (True, True)), (0.98, 0.2, (False, True)), (0.99, 0.9, (True, False))]
)
def test_a_statement_that_the_runs_do_not_show_does_not_hold(
    runs: list[FinishedRun], seen: float, unseen: float, holds: tuple[bool, bool]
) -> None:
    summaries = [summarize(run) for run in runs]
    assert [each["seed"] for each in summaries] == [0, 1, 2]
    for summary in summaries[1:]:
        summary["test"]["mean_class_accuracy"] = seen
        summary["unseen"]["mean_class_accuracy"] = unseen
    summaries[0]["test"]["mean_class_accuracy"] = 0.8
    assert tuple(each["holds"] for each in consequences(summaries[0], summaries[1:])[:2]) == holds


@pytest.mark.parametrize(
    ("steps", "weight"),
    [
        ((-0.01, 0.01), "nothing: the printed training may be this one"),
        ((0.01, 0.02), "that the printed training is not this one: "),
    ],
)
def test_printed_values_within_the_ranges_of_the_seeds_tell_nothing(
    runs: list[FinishedRun], steps: tuple[float, float], weight: str
) -> None:
    printed = original()["settings"]
    summaries = [summarize(runs[1]) for _ in range(2)]
    for summary, step in zip(summaries, steps, strict=True):
        for ours, theirs in zip(summary["settings"].values(), original()["optimizers"], strict=True):
            ours["mean_class_accuracy"] = printed[theirs]["mean_class_accuracy"] + step
    last = consequences(summarize(runs[0]), summaries)[-1]
    assert last["weight"].startswith(weight)
    assert last["holds"] == (steps[0] < 0)


def test_the_two_looks_of_the_original_share_three_counts_and_differ_by_eight_images() -> None:
    printed = original()["settings"]
    supports = dict(zip(original()["classes"], (463, 483, 521, 535, 490, 508), strict=True))
    assert compare_counts(printed["sgd"], printed["test"], supports) == (3, -8)


def test_two_different_sets_of_images_often_have_an_equal_count() -> None:
    printed, supports = original()["settings"], (463, 483, 521, 535, 490, 508)
    no_class_equal = 1.0
    for support, one, other in zip(
        supports, printed["sgd"]["class_accuracy"], printed["test"]["class_accuracy"], strict=True
    ):
        counts = stats.binom.pmf(np.arange(support + 1), support, (one + other) / 2)
        no_class_equal *= 1 - np.sum(counts**2)
    assert 1 - no_class_equal == pytest.approx(0.593, abs=5e-4)
    found = probability_of_equal_counts(
        1, printed["sgd"], printed["test"], dict(zip(original()["classes"], supports, strict=True))
    )
    assert found == pytest.approx(1 - no_class_equal, rel=1e-9)
    numbers = read_numbers(published_session.REPORTS)
    said = consequences(numbers["corrected"], numbers["published"])
    assert (
        f"at the printed rates, two different image sets give such counts with probability {1 - no_class_equal:.2f},"
        in said[3]["weight"]
    )
    assert all(each.keys() == Consequence.__annotations__.keys() for each in said)


def class_sizes_of_a_stratified_set(images: list[int], size: int) -> list[int]:
    """Return class sizes proportional to `images`, rounded by the largest remainder method."""
    exact = [count * size / sum(images) for count in images]
    largest = sorted(range(len(exact)), key=lambda place: exact[place] % 1, reverse=True)
    more = set(largest[: size - sum(map(int, exact))])
    return [int(value) + (place in more) for place, value in enumerate(exact)]


def test_two_disjoint_stratified_sets_of_3000_photographs_have_the_same_class_sizes() -> None:
    photographs = [2628, 2745, 2957, 3037, 2784, 2883]
    first = class_sizes_of_a_stratified_set(photographs, 3000)
    rest = [all_ - taken for all_, taken in zip(photographs, first, strict=True)]
    assert first == class_sizes_of_a_stratified_set(rest, 3000) == [463, 483, 521, 535, 490, 508]


def test_the_committed_page_is_what_its_committed_numbers_give(tmp_path: Path) -> None:
    """After a change of wording, update the page by running python -m studies.published."""
    reports = tmp_path / "reports"
    for file in published_session.write(reports):
        if file.suffix in {".md", ".json"}:
            assert file.read_text() == (published_session.REPORTS / file.relative_to(reports)).read_text(), file.name


def test_the_committed_file_of_printed_values_calls_no_figure_validation() -> None:
    written = (published_session.REPORTS / published_page.PRINTED).read_text(encoding="utf-8")
    assert written == format_as_toml(original())
    assert [line for line in written.splitlines() if line.startswith("name")] == [
        'name = "figure 1 (adamw)"',
        'name = "figure 2 (rmsprop)"',
        'name = "figure 3 (sgd)"',
        'name = "test"',
    ]


def test_runs_that_cannot_be_compared_are_refused(runs: list[FinishedRun], tmp_path: Path) -> None:
    fair, first, second = runs
    for refused, message in (
        ((fair, []), "no run of the supposed protocol"),
        ((fair, [FinishedRun.open(fair.folder)]), "has protocol corrected; expected published"),
        ((first, [second]), "has protocol published; expected corrected"),
        ((fair, [first, FinishedRun.open(first.folder)]), r"the seeds \[1, 1\]; expected a different seed"),
    ):
        with pytest.raises(ValueError, match=message):
            published_page.write(*refused, [], tmp_path / "reports")
    longer = replace(first, config=replace(first.config, epochs=7))
    with pytest.raises(ValueError, match=r"in more than protocol and seed: epochs is 7, expected 2"):
        published_page.write(fair, [longer], [], tmp_path / "reports")
    named = [replace(run, metrics=RunMetrics(**{**run.metrics, "classes": [*"abcdef"]})) for run in (fair, first)]
    with pytest.raises(ValueError, match=r"has classes \['a', .*; expected \['buildings'"):
        published_page.write(named[0], named[1:], [], tmp_path / "reports")


@pytest.mark.slow
def test_the_page_holds_no_path_of_the_machine_and_its_commands_are_quoted(
    runs: list[FinishedRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home" / "ada-lovelace"
    monkeypatch.setenv("HOME", str(home))
    moved = []
    for run in runs:
        folder = run.folder.rename(tmp_path / f"{run.folder.name}; touch x")
        places: dict[str, Any] = {name: str(home / f"my {name}") for name in ("data", "weights", "imagenet", "cifar10")}
        files = RunFolder(folder)
        files.write_json("config.json", to_json(replace(run.config, **places)))
        rechain(folder)
        moved.append(FinishedRun.open(folder))
    published_page.write(moved[0], moved[1:], [], tmp_path / "reports")
    for file in (tmp_path / "reports").rglob("*.*"):
        assert b"ada-lovelace" not in file.read_bytes()
        assert str(tmp_path).encode() not in file.read_bytes()
    text = (tmp_path / "reports" / "published.md").read_text()
    assert 'nox -s evidence -- published "corrected; touch x" "published-0; touch x" "published-1; touch x"' in text
    assert '--data "my data" --weights "my weights"' in text
    assert '--out "corrected; touch x"' in text


def test_runs_whose_published_names_are_one_are_refused(runs: list[FinishedRun], tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = runs[1].folder.rename(tmp_path / "other" / "corrected")
    with pytest.raises(ValueError, match="published as corrected, corrected; expected a different folder name"):
        published_page.write(runs[0], [FinishedRun.open(other)], [], tmp_path / "reports")


def test_runs_of_other_settings_or_modules_than_the_reports_are_refused(
    runs: list[FinishedRun], tmp_path: Path
) -> None:
    other = [replace(run, config=replace(run.config, settings=run.config.settings[:2])) for run in runs]
    with pytest.raises(ValueError, match="has settings of adamw, rmsprop; expected adamw, rmsprop"):
        published_page.write(other[0], other[1:], [], tmp_path / "reports")
    features = json.loads(json.dumps(runs[0].features))
    for images in features["sets"]:
        del images["modules"]["conv1"]
    with pytest.raises(ValueError, match="has no measured feature maps of conv1; expected all modules"):
        non_positive_percent(replace(runs[0], features=features))
    with pytest.raises(ValueError, match="has no measured feature maps; `in4310repro report` measures them"):
        non_positive_percent(replace(runs[0], features=None))


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("numbers",), [], "numbers is []"),
        (("numbers", "corrected"), {}, "has other names than numbers.corrected, or lacks"),
        (("numbers", "shared-split", "test mAP"), None, "numbers.shared-split.test mAP is None; a number is needed"),
        (("numbers", "corrected", "test accuracy"), "high", "numbers.corrected.test accuracy is 'high'"),
        (("config", "preset"), "../victim", "config: preset '../victim' names a folder"),
        (("fingerprint",), {}, "lacks fingerprint.versions"),
    ],
)
def test_an_ablation_that_is_none_is_refused(
    place: tuple[str, ...], value: Any, words: str, finished_run: Path, tmp_path: Path
) -> None:
    numbers = {"test accuracy": 0.5, "test mAP": 0.6, "accuracy on unseen images": None}
    numbers |= {"non-positive share, conv1": 0.5, "largest eigenvalue, conv1, test": 2.0}
    report: Any = {
        "command": "nox -s ablation",
        "config": to_json(PRESETS["tiny"]),
        "fingerprint": json.loads((finished_run / "fingerprint.json").read_text()),
        "runs": {},
        "numbers": {"corrected": numbers, "shared-split": dict(numbers)},
    }
    file = tmp_path / "ablation.json"
    file.write_text(json.dumps(report))
    assert read_report(file) == report
    inner = report
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    file.write_text(json.dumps(report))
    with pytest.raises(ValueError, match=r"ablation\.json") as raised:
        read_report(file)
    assert words in str(raised.value)
