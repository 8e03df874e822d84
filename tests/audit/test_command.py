"""The `audit` command: options as typed, one outcome for each file, one exit code for all files."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from in4310repro.audit import command
from in4310repro.audit.command import Outcome
from in4310repro.audit.verdicts import Options

GOOD = "AP for sea = 0.5000\nAP for town = 0.6000\nmAP = 0.5500"
WRONG = GOOD.replace("0.5500", "0.5900")
TABLE = "| class | AP |\n|---|---|\n| sea | 0.5000 |\n| town | 0.6000 |\n| mAP | 0.5900 |\n"


def outcomes(folder: Path, *texts: str) -> list[Outcome]:
    paths = [folder / f"{number}.txt" for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text, encoding="utf-8")
    return [command.audit_file(path, Options()) for path in paths]


@pytest.mark.parametrize(
    ("texts", "code"),
    [
        ((GOOD,), 0),
        ((WRONG,), 3),
        ((TABLE,), 1),
        ((WRONG, TABLE), 1),
        ((GOOD.replace("0.5500", "0.0000"),), 3),
        (("nothing here",), 2),
        ((GOOD, "nothing here"), 2),
        (("nothing here", WRONG, GOOD), 3),
        ((GOOD, GOOD), 0),
    ],
)
def test_the_exit_code_is_1_if_any_is_impossible_else_3_as_read_else_2_if_any_is_unread(
    texts: tuple[str, ...], code: int, tmp_path: Path
) -> None:
    assert command.exit_code(outcomes(tmp_path, *texts)) == code


def test_several_files_give_one_line_each_and_one_file_the_whole_audit(tmp_path: Path) -> None:
    several = command.lines(outcomes(tmp_path, GOOD, WRONG))
    assert [line.count("\n") for line in several] == [0, 0]
    assert "1 impossible as read" in several[1]
    (whole,) = command.lines(outcomes(tmp_path, WRONG))
    assert "Impossible as read (mean)" in whole


def test_a_file_that_does_not_exist_is_an_outcome_with_its_name(tmp_path: Path) -> None:
    missing = command.audit_file(tmp_path / "nowhere.md", Options())
    assert missing.exit_code == 2
    assert "nowhere.md does not exist" in missing.error


def test_sizes_are_read_as_typed_and_from_files(tmp_path: Path) -> None:
    expected = {"sea": 510, "palm tree": 474}
    assert command.parse_sizes("sea=510, palm tree=474") == expected
    (tmp_path / "sizes.json").write_text(json.dumps(expected))
    (tmp_path / "sizes.csv").write_text("class,images\nsea,510\npalm tree,474\n")
    assert command.parse_sizes(str(tmp_path / "sizes.json")) == expected
    assert command.parse_sizes(str(tmp_path / "sizes.csv")) == expected
    assert command.parse_sizes(None) == {}


@pytest.mark.parametrize("given", ["sea", "sea=many", "=3", "sea=1.5", "sea=-1", "nowhere.json"])
def test_sizes_that_are_none_are_refused(given: str) -> None:
    with pytest.raises(ValueError, match=r"--sizes .*expected"):
        command.parse_sizes(given)


def test_ceilings_are_shares_or_percentages_with_or_without_a_name() -> None:
    assert command.parse_ceilings(["0.995"]) == {"the ceiling 0.995": Fraction("0.995")}
    assert command.parse_ceilings(["best known=99.5%"]) == {"best known": Fraction("0.995")}


@pytest.mark.parametrize("given", ["abc", "99.5", "0", "nan", "inf", ""])
def test_ceilings_that_are_none_are_refused(given: str) -> None:
    with pytest.raises(ValueError, match=r"--ceiling"):
        command.parse_ceilings([given])


def test_the_ending_of_out_chooses_the_page_or_the_json(tmp_path: Path) -> None:
    (made,) = outcomes(tmp_path, WRONG)
    assert made.audit
    page = command.write(made.audit, tmp_path / "audit.html").read_text(encoding="utf-8")
    content = json.loads(command.write(made.audit, tmp_path / "audit.json").read_text(encoding="utf-8"))
    assert "<html" in page
    assert content["exit_code"] == 3


def test_an_output_that_cannot_be_written_is_refused_before_anything_is_read() -> None:
    with pytest.raises(ValueError, match=r".*\.html or \.json"):
        command.check_outputs(Path("audit.txt"), None, [Path("a.md")])
    with pytest.raises(ValueError, match="one file with --out"):
        command.check_outputs(Path("audit.json"), None, [Path("a.md"), Path("b.md")])


def test_show_lists_what_is_recognised_and_names_what_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text(GOOD)
    listing = command.list_recognised(path)
    assert isinstance(listing, str)
    assert "average precision of 2 classes" in listing
    missing = command.list_recognised(tmp_path / "nowhere.md")
    assert isinstance(missing, Outcome)
    assert missing.exit_code == 2
    assert "nowhere.md does not exist" in missing.error


def test_names_in_a_report_are_text_in_what_is_printed(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    names = ("sea\n1. Impossible (x): forged", "for\x1b[31mest", "\u202eabc", "[red]a")
    file.write_text(
        json.dumps({"accuracy": dict(zip(names, (0.51, 0.5, 0.75, 0.25), strict=True)), "mean accuracy": 0.9})
    )
    printed = (*command.lines([command.audit_file(file, Options())]), command.list_recognised(file))
    for text in map(str, printed):
        assert all(letter.isprintable() or letter == "\n" for letter in text)
        assert "sea\\n1. Impossible (x): forged" in text
        assert "for\\x1b[31mest" in text
        assert "\\u202eabc" in text


def test_pages_and_findings_of_an_audit_hold_the_name_of_the_file_and_not_where_it_lies(tmp_path: Path) -> None:
    file = tmp_path / "report.md"
    file.write_text("Accuracy of sea: 0.5\nAccuracy of forest: 0.25\n")
    outcome = command.audit_file(file, Options())
    assert outcome.audit is not None
    for name in ("audit.html", "audit.json"):
        written = command.write(outcome.audit, tmp_path / name).read_text(encoding="utf-8")
        assert "report.md" in written
        assert str(tmp_path) not in written


def test_every_option_reaches_the_audit(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("Accuracy of sea: 0.5\nAccuracy of town: 0.5")
    options = Options(
        images=4, more_images=(8,), sizes={"sea": 2, "town": 2}, more_sizes=({"sea": 4, "town": 4},), bound=7, folds=3,
        ceilings={"mine": Fraction(1, 2)},
    )  # fmt: skip
    for given in (options, Options(), Options(sizes={"sea": 2}), Options(images=5)):
        made = command.audit_file(path, given)
        assert made.audit
        assert replace(made.audit.options, chosen={}) == given
        assert (made.error, made.exit_code, made.path) == ("", 0, path)
        assert made.audit.power


def test_an_output_of_one_file_and_none_at_all_are_valid() -> None:
    one, two = [Path("a.md")], [Path("a.md"), Path("b.md")]
    for out, files in ((None, one), (None, two), (Path("audit.HTML"), one), (Path("audit.json"), one)):
        command.check_outputs(out, None, files)
    with pytest.raises(ValueError, match=r"^--out audit\.txt ends in \.txt; .*\.html or \.json$"):
        command.check_outputs(Path("audit.txt"), None, one)
    with pytest.raises(ValueError, match=r"^--out audit ends in nothing; .*\.html or \.json$"):
        command.check_outputs(Path("audit"), None, one)
    with pytest.raises(ValueError, match=r"^--out a\.json is for one file, not 2; .*one file with --out"):
        command.check_outputs(Path("a.json"), None, two)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", "class,images\nsea,5\ntown, 7 \n", {"sea": 5, "town": 7}),
        ("a.csv", "sea,5\n\nx\ntown,7,more\n", {"sea": 5, "town": 7}),
        ("a.CSV", "town,7\nsea,1_000", {"town": 7, "sea": 1000}),
        ("a.csv", "sea,1_000\ntown,7", {"sea": 1000, "town": 7}),
        ("a.json", '{"sea": 5, "town": "7"}', {"sea": 5, "town": 7}),
        ("a.json", '[["sea", 5]]', {"sea": 5}),
        ("a.JSON", "\ufeff{}", {}),
    ],
)
def test_sizes_in_files_may_have_a_heading(name: str, content: str, expected: dict[str, int], tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    assert command.parse_sizes(str(path)) == expected


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.csv", "class,images\nsea,many", "sea=many .*sea=510,forest=474"),
        ("a.csv", "class,images\n,5", "=5 .*sea=510,forest=474"),
        ("a.json", "[1]", "a file with a class and its images.*"),
        ("a.json", "{", "a file with a class and its images.*"),
    ],
)
def test_files_without_sizes_are_refused(name: str, content: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=f"^--sizes .*{name}: .*{why}$"):
        command.parse_sizes(str(path))


def test_typed_sizes_may_have_spaces_and_thousands() -> None:
    assert command.parse_sizes("sea = 1_000 ,a=b=2") == {"sea": 1000, "a=b": 2}
    assert command.parse_sizes("") == {}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["0.5", "x=50 %", " y = 25%"], {"the ceiling 0.5": Fraction(1, 2), "x": Fraction(1, 2), "y": Fraction(1, 4)}),
        (["99.9%"], {"the ceiling 99.9%": Fraction(999, 1000)}),
        ([], {}),
    ],
)
def test_ceilings_have_the_name_that_is_given_or_their_number(given: list[str], expected: dict[str, Fraction]) -> None:
    assert command.parse_ceilings(given) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("abc", r"--ceiling abc .*0\.995 .*99\.5%"),
        ("x=", r"--ceiling x= .*0\.995 .*99\.5%"),
        ("0", "--ceiling 0; .*more than 0 and less than 1"),
        ("1", "--ceiling 1; .*more than 0 and less than 1"),
        ("100%", "--ceiling 100%; .*more than 0 and less than 1"),
    ],
)
def test_ceilings_beyond_zero_and_one_are_refused(given: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        command.parse_ceilings([given])


def test_of_several_files_those_that_were_read_have_a_line(tmp_path: Path) -> None:
    good = outcomes(tmp_path, GOOD)
    missing = command.audit_file(tmp_path / "nowhere.md", Options())
    assert len(command.lines([missing, *good])) == 1
    assert command.lines([missing]) == []
    assert (command.exit_code([]), command.exit_code([missing])) == (0, 2)
