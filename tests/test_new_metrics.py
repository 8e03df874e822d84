"""Metrics that join the table by a row: of any range, from counts or scores, better if lower, also for selection."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics

import in4310repro

pytestmark = pytest.mark.slow
CHROMIUM = shutil.which("chromium")
FUNCTIONS = """
def top_2(scores: Any) -> float:
    own = scores.scores.gather(1, scores.labels[:, None])
    return float(((scores.scores > own).sum(dim=1) < 2).double().mean())


def log_loss(scores: Any) -> float:
    own = scores.scores.gather(1, scores.labels[:, None]).double().clamp(min=2.0**-126)
    return -math.fsum(own.log().flatten().tolist()) / len(own)


def matthews(counts: Any) -> float:
    images, right = sum(counts.images), sum(counts.right)
    products = [sum(one * other for one, other in zip(*pair)) for pair in (
        (counts.images, counts.predicted), (counts.images, counts.images), (counts.predicted, counts.predicted))]
    spread = (images**2 - products[1]) * (images**2 - products[2])
    return (right * images - products[0]) / math.sqrt(spread) if spread > 0 else 0.0


# A metric reads nothing"""
ROWS = """
        Metric(name="top_2", function=top_2, reads=SCORES, label="top-2 accuracy", heading="top 2",
               tolerance=Tolerance.SCORES),
        Metric(name="log_loss", function=log_loss, reads=SCORES, label="log loss", heading="log loss",
               tolerance=Tolerance.SCORES, highest=math.inf, higher_is_better=False),
        Metric(name="matthews", function=matthews, reads=COUNTS, label="Matthews correlation", heading="MCC",
               tolerance=Tolerance.NONE, lowest=-1.0, follows_counts=False),
    )
}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tiny run by a copy of the package whose table has three more rows, selected by the log loss."""
    place = tmp_path_factory.mktemp("metrics")
    shutil.copytree(Path(in4310repro.__file__).parent, place / "src/in4310repro")
    table = place / "src/in4310repro/metrics/table.py"
    text = table.read_text(encoding="utf-8")
    assert text.count("\n    )\n}\n") == text.count("\n# A metric reads nothing") == 1
    table.write_text(
        text.replace("\n# A metric reads nothing", FUNCTIONS).replace("\n    )\n}\n", ROWS), encoding="utf-8"
    )
    in4310(place, "train", "--preset", "tiny", "--select", "log_loss", "--out", "run")
    return place / "run"


def in4310(place: Path, *words: str) -> str:
    environment = {**os.environ, "PYTHONPATH": f"{place / 'src'}", "IN4310REPRO_CACHE": f"{place / 'cache'}"}
    command = [sys.executable, "-m", "in4310repro", *words]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_their_values_are_those_of_scikit_learn_and_the_lowest_loss_is_selected(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    arrays = dict(np.load(run / "scores.npz"))
    labels, scores = arrays["labels"], arrays["softmax"].astype(np.float64)
    scores /= scores.sum(axis=1, keepdims=True)
    assert metrics["top_2"] == sklearn.metrics.top_k_accuracy_score(labels, scores, k=2)
    assert metrics["log_loss"] == pytest.approx(sklearn.metrics.log_loss(labels, scores), rel=1e-6)
    correlation = sklearn.metrics.matthews_corrcoef(labels, scores.argmax(axis=1))
    assert metrics["matthews"] == pytest.approx(correlation, abs=1e-12)
    assert metrics["log_loss"] > 1
    losses = {
        (file.parent.name, row["epoch"]): row["log_loss"]
        for file in run.glob("*/history.json")
        for row in json.loads(file.read_text())
    }
    assert (metrics["setting"], metrics["epoch"]) == min(losses, key=lambda each: losses[each])


def test_verify_and_report_take_them(run: Path) -> None:
    in4310(run.parent, "verify", "run")
    in4310(run.parent, "report", "run", "--out", "report")
    figure = json.loads((run.parent / "report/figure04.json").read_text())
    page = (run.parent / "report/report.md").read_text()
    for name, label in (("top_2", "Top-2 accuracy"), ("log_loss", "Log loss"), ("matthews", "Matthews correlation")):
        assert name in figure["ours"]
        assert label in page


def test_native_arithmetic_is_verified_within_what_close_scores_leave_open(run: Path) -> None:
    in4310(run.parent, "train", "--preset", "tiny", "--numerics", "native", "--out", "native")
    in4310(run.parent, "verify", "native", "--numerics", "portable")


def test_the_page_names_what_it_cannot_compute(run: Path) -> None:
    if CHROMIUM is None:
        pytest.skip("there is no chromium; apt-get install chromium")
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed; pip install -e '.[dev]'")
    from tests.report.browsers import ChromiumTab, check, chromium

    report = run.parent / "report"
    if not report.exists():
        in4310(run.parent, "report", "run", "--out", "report")
    with chromium(CHROMIUM) as browser:
        tab = ChromiumTab(browser.new_page())
        assert check(tab, report / "check.html", run, report / "check-images.zip").startswith("Nothing differs")
        named = [text for text in tab.texts(".unproven li") if "this page does not compute it" in text]
        for name in ("top_2", "log_loss", "matthews"):
            assert [text for text in named if f" {name}: not checked" in text]
        assert len(named) == 3
