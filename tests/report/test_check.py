"""The JSON files and pages of a report, compared with its run."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from in4310repro.report import check_page
from in4310repro.report.page import list_report_files, report_differences, write
from in4310repro.report.score_exhibits import WITH_PHOTOGRAPHS
from in4310repro.runs import names
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.folder import RunFolder


@pytest.fixture
def report(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "report"))


def test_the_report_of_a_run_agrees_with_it(report: Path, finished_run: Path) -> None:
    assert report_differences(finished_run, report) == []
    record = json.loads((report / "run.json").read_text())
    assert record["manifest_sha256"] == RunFolder(finished_run).manifest_sha256()
    for name in ("report.md", "index.html"):
        text = (report / name).read_text()
        assert record["manifest_sha256"] in text
        assert "Claimed, and not computed again:" in text
        assert "training losses and hashes of optimizer states; " in text
    record["files_sha256"][names.FEATURES] = "0" * 64  # each report measures the feature maps anew
    (report / "run.json").write_text(json.dumps(record))
    assert report_differences(finished_run, report) == []


def replace_value(*keys: str, value: Any) -> Callable[[Any], None]:
    def change(content: Any) -> None:
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value

    return change


CHANGES = (
    ("figure04.json", replace_value("ours", "mean_class_accuracy", value=0.99),
     "ours.mean_class_accuracy is 0.99; the run"),
    ("figure04.json", replace_value("intervals", "accuracy", value=[0.9, 1.0]),
     "intervals.accuracy is [0.9, 1.0]; the run"),
    ("figure09.json", replace_value("images", value=200), "figure09.json: images is 200; the run has 12"),
    ("figure12.json", replace_value("confusion_matrix", value=[]), "figure12.json: confusion_matrix is []"),
    ("figure14.json", replace_value("bins", value=[]), "figure14.json: bins is []"),
    ("run.json", replace_value("metrics", "epoch", value=17), "run.json: metrics.epoch is 17"),
    ("run.json", replace_value("config", "epochs", value=200), "run.json: config.epochs is 200; the run has 2"),
    ("run.json", replace_value("manifest_sha256", value="0" * 64), "manifest_sha256 is 000"),
    ("run.json", replace_value("files_sha256", "metrics.json", value="0" * 64), "files_sha256.metrics.json is 000"),
    ("run.json", replace_value("figures", value=[]), "figures is []"),
)  # fmt: skip


def test_each_changed_number_of_a_report_is_a_difference(report: Path, finished_run: Path) -> None:
    for name, change, _ in CHANGES:
        content = json.loads((report / name).read_text())
        change(content)
        (report / name).write_text(json.dumps(content))
    sentences = report_differences(finished_run, report)
    assert len(sentences) == len(CHANGES)
    for name, _, words in CHANGES:
        assert sum(str(report / name) in sentence and words in sentence for sentence in sentences) == 1, words


def test_a_lost_a_damaged_and_an_added_file_are_differences(report: Path, finished_run: Path) -> None:
    (report / "figure01.json").unlink()
    (report / "figure02.json").write_text("{")
    (report / "figure04.svg").unlink()
    (report / check_page.IMAGES).write_bytes(b"")
    shutil.copy(report / "figure03.json", report / "figure99.json")
    sentences = report_differences(finished_run, report)
    assert len(sentences) == 5
    assert "figure02.json is not a JSON file" in sentences[2]
    assert str(report / "figure04.svg") in sentences[3]
    assert sentences[4] == f"{report / check_page.IMAGES}: line 1 differs from the one that the run gives"
    assert check_page.IMAGES in list_report_files(report)
    assert sentences[0] == f"{report / 'figure99.json'} is not a figure of this run"


@pytest.mark.parametrize(
    ("names", "old", "new"),
    [
        (("report.md", "index.html"), "mean class accuracy", "mean class accuracy (0.99 with ten crops)"),
        (("figure01.svg", "figure07.svg", "figure13.svg", "index.html"), 'x="0"', 'x="1"'),
    ],
    ids=["sentence", "drawing"],
)
def test_a_sentence_or_a_drawing_that_the_run_does_not_make_is_a_difference(
    names: tuple[str, ...], old: str, new: str, report: Path, finished_run: Path
) -> None:
    places = {}
    for name in names:
        text = (report / name).read_text(encoding="utf-8")
        places[name] = text[: text.index(old)].count("\n") + 1
        (report / name).write_text(text.replace(old, new, 1), encoding="utf-8")
    sentences = report_differences(finished_run, report)
    assert len(sentences) == len(names)
    for name, place in places.items():
        assert sum(f"{report / name}: line {place} differs" in sentence for sentence in sentences) == 1, name


def test_a_drawing_of_photographs_that_the_page_does_not_show_is_a_difference(report: Path, finished_run: Path) -> None:
    drawing = report / WITH_PHOTOGRAPHS
    content = drawing.read_bytes()
    write(FinishedRun.open(finished_run), report, photographs=False)
    assert report_differences(finished_run, report) == []
    drawing.write_bytes(content)
    assert report_differences(finished_run, report) == [f"{drawing} is not a figure of this run"]


def test_another_photograph_in_the_page_than_in_figure_7_is_a_difference(report: Path, finished_run: Path) -> None:
    text = (report / "index.html").read_text(encoding="utf-8")
    first, second = list(dict.fromkeys(re.findall(r"data:image/jpeg;base64,[\w+/=]+", text)))[:2]
    (report / "index.html").write_text(text.replace(first, second), encoding="utf-8")
    (sentence,) = report_differences(finished_run, report)
    assert f"{report / 'figure07.svg'}: line " in sentence
    (report / "index.html").write_text(text.replace(f'<img src="{first}"', '<img src="x"', 1), encoding="utf-8")
    (sentence,) = report_differences(finished_run, report)
    assert re.search(r"index\.html shows \d+ photographs; expected \d+", sentence)


def test_the_check_page_is_given_the_facts_that_its_script_reads_and_no_others() -> None:
    html = check_page.html()
    facts = json.loads(html.split('id="facts">')[1].split("</script>")[0])
    assert set(re.findall(r"\bFACTS\.(\w+)", html)) == set(facts)
    used = set(re.findall(r"\bFACTS\.tolerances\.(\w+)", html))
    for taken in re.findall(r"\{([^{}]*)\} = FACTS\.tolerances", html):
        used |= set(re.findall(r"(\w+)(?:: \w+)?(?:,| $)", taken))
    assert used == set(facts["tolerances"])


def test_a_folder_without_a_report_is_refused(tmp_path: Path, finished_run: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no report: expected run\.json"):
        report_differences(finished_run, tmp_path)


def test_the_page_has_every_script_but_that_of_its_workers() -> None:
    scripts = {each.stem for each in Path(check_page.__file__).parent.glob("templates/check/*.js")}
    assert {*check_page.SCRIPTS} == scripts - {"worker"}
