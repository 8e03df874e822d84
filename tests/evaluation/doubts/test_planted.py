"""Planted faults: the committed table agrees with its data, and a smaller one is measured again."""

from pathlib import Path

import pytest

from in4310repro.system.files import read_json
from tests.audit.validation_page import replaced
from tests.evaluation.doubts import planted
from tests.sessions import planted as session


def test_the_committed_table_is_what_the_committed_data_says() -> None:
    page = session.PAGE.read_text(encoding="utf-8")
    result = read_json(session.NUMBERS)
    assert replaced(page, session.table(result), session.MARK) == page


def test_most_of_what_was_planted_was_found_and_most_of_what_was_found_was_planted() -> None:
    kinds = read_json(session.NUMBERS)["kinds"]
    assert kinds.keys() == {"wrong labels", *planted.KINDS}
    for kind in planted.KINDS:
        assert kinds[kind]["right"] >= 0.95 * kinds[kind]["found"]
    for kind in ("turned", "recompressed"):
        assert kinds[kind]["recalled"] >= 0.95 * kinds[kind]["planted"]
    assert kinds["wrong labels"]["right"] >= 0.5 * kinds["wrong labels"]["found"]
    assert kinds["wrong labels"]["recalled"] >= 0.6 * kinds["wrong labels"]["planted"]


def test_truth_is_planted_as_it_is_told(tmp_path: Path) -> None:
    truth = planted.plant(tmp_path / "scenes", 25, 32, seed=0)
    files = {file.relative_to(tmp_path / "scenes").as_posix() for file in (tmp_path / "scenes").rglob("*.*")}
    copies = [pair for pairs in truth.copies.values() for pair in pairs]
    assert len(truth.wrong) == round(0.03 * 150)
    assert [len(pairs) for pairs in truth.copies.values()] == [3, 3, 3]
    assert len(files) == 150 + len(copies)
    assert all(name not in path.split("/")[0] for path, name in truth.wrong.items())
    assert len({path for pair in copies for path in pair} | truth.wrong.keys()) == 2 * len(copies) + len(truth.wrong)
    assert {path for pair in copies for path in pair} <= files


@pytest.mark.slow
def test_a_smaller_folder_measured_now_says_about_the_same(tmp_path: Path) -> None:
    # A network that has seen a quarter of the images finds nine of the eleven wrong labels.
    training = ("--scenes", "100", "--split", "0.7/0.15/0.15", "--epochs", "6")
    kinds = session.measure(tmp_path, images=60, training=training)["kinds"]
    for kind in ("turned", "recompressed"):
        assert kinds[kind]["recalled"] == kinds[kind]["planted"] > 0
        assert kinds[kind]["right"] >= 0.9 * kinds[kind]["found"]
    assert kinds["wrong labels"]["recalled"] >= 0.5 * kinds["wrong labels"]["planted"]
