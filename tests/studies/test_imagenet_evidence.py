"""Evidence that published numbers used ImageNet weights: exact probabilities, and the section of the page."""

import functools
import json
import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from in4310repro.audit.examine import audit
from in4310repro.runs.config import to_json
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.folder import RunFolder
from studies.published import evidence, page as published_page
from tests.builders import rechain
from tests.studies.test_published_page import runs

__all__ = ["runs"]


def exact(correct: int, images: int, accuracy: Fraction, *, more: bool) -> Fraction:
    counts = range(correct, images + 1) if more else range(correct + 1)
    return sum((math.comb(images, k) * accuracy**k * (1 - accuracy) ** (images - k) for k in counts), start=Fraction(0))


@pytest.mark.parametrize(
    ("correct", "accuracy", "more"), [(295, "0.93", True), (280, "0.99", False), (3, "0.9", False)]
)
def test_the_probability_is_the_exact_sum_of_a_binomial_distribution(correct: int, accuracy: str, more: bool) -> None:
    found = evidence.log10_of_tail(correct, 300, float(accuracy), more=more)
    needed = exact(correct, 300, Fraction(accuracy), more=more)
    assert found == pytest.approx(math.log10(needed.numerator) - math.log10(needed.denominator), rel=1e-9)
    # Leaving out the count itself gives another probability.
    beyond = exact(correct + (1 if more else -1), 300, Fraction(accuracy), more=more)
    assert found != pytest.approx(math.log10(beyond.numerator) - math.log10(beyond.denominator), rel=1e-9)


def test_the_evidence_of_the_audited_counts_becomes_a_section_of_the_page_and_stays_when_the_page_is_written_again(
    runs: list[FinishedRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = tmp_path / "reports"
    # The printed counts are constant.
    audited = functools.cache(audit)
    monkeypatch.setattr(published_page, "audit", audited)
    from_scratch = published_page.write(runs[0], runs[1:], [], reports)
    printed = audited(reports / "published/original.toml")
    assert printed.inconsistencies == ()
    assert list(printed.sizes[0].taken.values()) == [463, 483, 521, 535, 490, 508]
    assert [table.totals[0] for table in printed.counted if table.totals] == [2625, 2937, 2972, 2964]
    assert evidence.printed_counts(printed) == {"figure 3 (sgd)": (2972, 3000), "test": (2964, 3000)}
    assert "## From ImageNet weights" not in (reports / "published.md").read_text()
    with pytest.raises(ValueError, match="trained from scratch; expected a run from ImageNet weights"):
        published_page.write_evidence(runs[0], runs[1:], [], reports)
    others = []
    for run in runs:
        RunFolder(run.folder).write_json("config.json", to_json(replace(run.config, weights="imagenet")))
        rechain(run.folder)
        others.append(FinishedRun.open(run.folder))
    written = published_page.write_evidence(others[0], others[1:], [], reports)
    assert {file.name for file in written} == {"imagenet.json", *(each.name for each in from_scratch)} - {
        "original.toml"
    }
    section = (reports / "published.md").read_text().partition("## From ImageNet weights")[2].partition("\n## ")[0]
    found = json.loads((reports / "published" / "imagenet.json").read_text())
    assert "**0.9800** on its training images and **0.1250** on the 36 others (seed 1);" in section
    assert "| corrected protocol, separate test images | " in section
    assert "nox -s evidence -- published corrected published-0 published-1 --from-imagenet" in section
    assert [each["correct"] for each in found["likelihoods"]] == 2 * [2972, 2964]
    published_page.write_page(
        json.loads((reports / "published" / "numbers.json").read_text()),
        audited(reports / "published/original.toml"),
        [],
        reports,
    )
    assert section in (reports / "published.md").read_text()


def test_without_a_page_there_is_nothing_to_add_to(runs: list[FinishedRun], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"numbers.json does not exist: .*`nox -s evidence -- published`"):
        published_page.write_evidence(runs[0], runs[1:], [], tmp_path / "reports")
