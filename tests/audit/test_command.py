"""The audit as a command: its options as they are typed, one outcome a file, one exit code for all."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest

from in4310repro.audit import command
from in4310repro.audit.command import Outcome
from in4310repro.audit.verdicts import Options

GOOD = "AP for sea = 0.5000\nAP for town = 0.6000\nmAP = 0.5500"
WRONG = GOOD.replace("0.5500", "0.5900")


def outcomes(folder: Path, *texts: str) -> list[Outcome]:
    paths = [folder / f"{number}.txt" for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text, encoding="utf-8")
    return [command.outcome(path, Options()) for path in paths]


@pytest.mark.parametrize(
    ("texts", "code"),
    [
        ((GOOD,), 0),
        ((WRONG,), 1),
        (("nothing here",), 2),
        ((GOOD, "nothing here"), 2),
        (("nothing here", WRONG, GOOD), 1),
        ((GOOD, GOOD), 0),
    ],
)
def test_the_exit_code_is_1_if_any_is_impossible_else_2_if_any_is_unread(
    texts: tuple[str, ...], code: int, tmp_path: Path
) -> None:
    assert command.exit_code(outcomes(tmp_path, *texts)) == code


def test_several_files_give_one_line_each_and_one_file_the_whole_audit(tmp_path: Path) -> None:
    several = command.lines(outcomes(tmp_path, GOOD, WRONG))
    assert [line.count("\n") for line in several] == [0, 0]
    assert "1 impossible" in several[1]
    (whole,) = command.lines(outcomes(tmp_path, WRONG))
    assert "Impossible (mean)" in whole


def test_a_file_that_does_not_exist_is_an_outcome_with_its_name(tmp_path: Path) -> None:
    missing = command.outcome(tmp_path / "nowhere.md", Options())
    assert missing.exit_code == 2
    assert "nowhere.md does not exist" in missing.error


def test_sizes_are_read_as_typed_and_from_files(tmp_path: Path) -> None:
    expected = {"sea": 510, "palm tree": 474}
    assert command.sizes_of("sea=510, palm tree=474") == expected
    (tmp_path / "sizes.json").write_text(json.dumps(expected))
    (tmp_path / "sizes.csv").write_text("class,images\nsea,510\npalm tree,474\n")
    assert command.sizes_of(str(tmp_path / "sizes.json")) == expected
    assert command.sizes_of(str(tmp_path / "sizes.csv")) == expected
    assert command.sizes_of(None) == {}


@pytest.mark.parametrize("given", ["sea", "sea=many", "=3", "sea=1.5", "sea=-1", "nowhere.json"])
def test_sizes_that_are_none_are_refused(given: str) -> None:
    with pytest.raises(ValueError, match=r"--sizes .*valid"):
        command.sizes_of(given)


def test_ceilings_are_shares_or_percentages_with_or_without_a_name() -> None:
    assert command.ceilings_of(["0.995"]) == {"the ceiling 0.995": Fraction("0.995")}
    assert command.ceilings_of(["best known=99.5%"]) == {"best known": Fraction("0.995")}


@pytest.mark.parametrize("given", ["abc", "99.5", "0", "nan", "inf", ""])
def test_ceilings_that_are_none_are_refused(given: str) -> None:
    with pytest.raises(ValueError, match=r"--ceiling"):
        command.ceilings_of([given])


def test_the_ending_of_out_chooses_the_page_or_the_json(tmp_path: Path) -> None:
    (made,) = outcomes(tmp_path, WRONG)
    assert made.audit
    page = command.write(made.audit, tmp_path / "audit.html").read_text(encoding="utf-8")
    content = json.loads(command.write(made.audit, tmp_path / "audit.json").read_text(encoding="utf-8"))
    assert "<html" in page
    assert content["exit_code"] == 1


def test_an_output_that_cannot_be_written_is_refused_before_anything_is_read() -> None:
    with pytest.raises(ValueError, match=r"\.html and \.json are valid"):
        command.check_out(Path("audit.txt"), [Path("a.md")])
    with pytest.raises(ValueError, match="one file with --out is valid"):
        command.check_out(Path("audit.json"), [Path("a.md"), Path("b.md")])


def test_show_lists_what_is_recognised_and_names_what_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text(GOOD)
    listing = command.listing(path)
    assert isinstance(listing, str)
    assert "average precision of 2 classes" in listing
    missing = command.listing(tmp_path / "nowhere.md")
    assert isinstance(missing, Outcome)
    assert missing.exit_code == 2


def test_names_in_a_report_are_text_in_what_is_printed(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    names = ("sea\n1. Impossible (x): forged", "for\x1b[31mest", "\u202eabc", "[red]a")
    file.write_text(
        json.dumps({"accuracy": dict(zip(names, (0.51, 0.5, 0.75, 0.25), strict=True)), "mean accuracy": 0.9})
    )
    printed = (*command.lines([command.outcome(file, Options())]), command.listing(file))
    for text in map(str, printed):
        assert all(letter.isprintable() or letter == "\n" for letter in text)
        assert "sea\\n1. Impossible (x): forged" in text
        assert "for\\x1b[31mest" in text
        assert "\\u202eabc" in text


def test_pages_and_findings_of_an_audit_hold_the_name_of_the_file_and_not_where_it_lies(tmp_path: Path) -> None:
    file = tmp_path / "report.md"
    file.write_text("Accuracy of sea: 0.5\nAccuracy of forest: 0.25\n")
    outcome = command.outcome(file, Options())
    assert outcome.audit is not None
    for name in ("audit.html", "audit.json"):
        written = command.write(outcome.audit, tmp_path / name).read_text(encoding="utf-8")
        assert "report.md" in written
        assert str(tmp_path) not in written
