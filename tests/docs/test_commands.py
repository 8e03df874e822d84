"""Every command in README and docs/ is run, or its options are checked and the reason is listed."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nox
import noxfile
import pytest
import torch
import torchvision

from in4310repro.cli.application import app
from in4310repro.runs.presets import PRESETS
from in4310repro.runs.settings import LARGEST_COUNT, OPTIMIZERS, OPTIONS, OptimizerSetting, options_of
from in4310repro.system.numerics import Numerics
from tests.conftest import Call
from tests.docs.commands import ROOT, find_commands, list_commands, list_pages, parse_page
from tests.golden_cases import CASES
from tests.sessions import page as sessions_page
from tests.sessions.evidence import EVIDENCE, PRINTED
from tests.trace.recording import record

SHOWN = list_commands()
OURS = [command for command in SHOWN if command.startswith("in4310repro ")]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# What makes a command small; with --print-config a training is parsed to its checked configuration, and none begins.
SMALLER = {
    "train": "--print-config",
    "features": "--weights none --image-size 32 --images 4 --model resnet18",
    "modules": "--image-size 32",
}
# Not run here, and what their parsed form ends with instead: (exit code, a part of the sentence).
LISTED = {
    # Placeholders; see tests/trace/test_program.py.
    "in4310repro explain": (2, "train.py"),
    "in4310repro record a.trace": (2, "train.py"),
    "in4310repro record b.trace": (1, "mypackage"),
    "in4310repro verify runs/demo --replay": (
        2,
        "--replay",
    ),  # kept epochs; see tests/verification/replay
}
PLACEHOLDERS = {"RUN": "runs/demo", "SEED": "0", "...": ""}


def test_commands_are_found_in_blocks_and_between_backticks() -> None:
    page = parse_page(
        "x",
        "`nox -s a` and `nox` and `b c`\n\n```\nnox -s d   # why\ncd x && pip install e\n```\n"
        "```python\nnox -s f\n```\n",
    )
    assert list(find_commands(page)) == ["nox -s d", "pip install e", "nox -s a"]
    assert [page.blocks for page in list_pages() if page.name == "README.md"] != [()]


def test_a_shown_line_has_no_comment_and_no_comma_without_quotes() -> None:
    blocks = [block for page in list_pages() for language, block in page.blocks if not language]
    lines = [line for block in blocks for line in block.splitlines() if _is_command(line)]
    assert len(lines) > 50
    reports = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "reports").rglob("*.md"))
    made_by = re.findall(r"(?:^|`)(in4310repro [^`\n]+)", reports, re.MULTILINE)
    assert len(made_by) > 50
    # zsh takes a typed # for a word, and PowerShell a comma without quotes for a separator.
    assert [line for line in (*lines, *made_by) if re.search(r"\s#|\S,\S", re.sub('"[^"]*"', "", line))] == []


def _is_command(line: str) -> bool:
    return bool([*find_commands(parse_page("x", f"```\n{line}\n```\n"))])


def test_every_session_of_nox_that_is_shown_is_there_and_every_one_that_is_there_is_shown() -> None:
    known = set(nox.registry.get())
    shown = set()
    for command in SHOWN:
        if match := re.match(r"(?:\.venv/bin/)?nox -s ([\w -]+?)(?: -- (.*))?$", command):
            names = set(match.group(1).split()) - {"NAME"}
            assert names <= known, command
            shown |= names
            if names == {"golden"}:
                case = (match.group(2) or "").split()[0]
                assert case in (*CASES, "environments", "CASE"), command
            if names == {"evidence"} and match.group(2):
                assert match.group(2).split()[0] in (*EVIDENCE, "NAME"), command
    assert known - shown == {"advisories", "minimums"}
    assert noxfile.docs.__doc__


def test_the_page_of_sessions_is_what_the_noxfile_and_the_list_of_evidence_give() -> None:
    text = sessions_page.PAGE.read_text(encoding="utf-8")
    assert sessions_page.renew(text) == text
    assert len(nox.registry.get()) <= 13


@pytest.mark.parametrize("name", EVIDENCE)
def test_evidence_is_run_by_a_module_and_writes_a_file_that_is_there(name: str) -> None:
    packaged = f"{EVIDENCE[name].module}.__main__"
    is_package = (ROOT / EVIDENCE[name].module.replace(".", "/")).is_dir()
    module = importlib.util.find_spec(packaged if is_package else EVIDENCE[name].module)
    assert module
    assert module.origin
    assert '__name__ == "__main__"' in Path(module.origin).read_text(encoding="utf-8")
    assert EVIDENCE[name].writes == PRINTED or (ROOT / EVIDENCE[name].writes).is_file()


@pytest.mark.process
def test_evidence_without_a_name_lists_the_names_and_an_unknown_one_is_refused_with_them() -> None:
    command = [sys.executable, "-m", "tests.sessions.evidence"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert [line.split()[0] for line in listed.splitlines()] == list(EVIDENCE)
    refused = subprocess.run([*command, "zoos"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"no 'zoos'; it must be one of {', '.join(EVIDENCE)}; did you mean zoo?" in refused.stderr


def test_every_extra_module_and_test_file_that_is_shown_is_there() -> None:
    for command in SHOWN:
        for extra in re.findall(r"'\.\[(\w+)\]'", command):
            assert extra in PROJECT["optional-dependencies"], command
        if match := re.match(r"python3? -m ([\w.]+)", command):
            assert importlib.util.find_spec(match.group(1)), command
        if match := re.match(r"(?:\.venv/bin/)?pytest (tests/\S+)", command):
            assert (ROOT / match.group(1)).exists(), command


def test_the_page_of_commands_names_every_command() -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    names = app.commands
    assert [name for name in names if not re.search(rf"`(?:in4310repro )?{name}\b", page)] == []


def test_the_table_of_presets_is_that_of_the_package() -> None:
    text = (ROOT / "docs" / "photographs.md").read_text(encoding="utf-8")
    for name in re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE):
        row = next(line for line in text.splitlines() if line.startswith(f"| `{name}` |"))
        config = PRESETS[name]
        for value in (f"{config.image_size} px", f"{config.epochs} epochs"):
            assert value in row, name


def test_the_table_of_settings_without_an_option_has_their_names_choices_and_ranges() -> None:
    page = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    table = page.partition("## Settings without an option\n")[2].partition("\n## ")[0]
    rows: dict[str, str] = dict(re.findall(r"^\| `(\S+)` \| (.+)$", table, re.MULTILINE))
    of_setting = options_of(OptimizerSetting)
    without = {name: each for name, each in OPTIONS.items() if not each.text and name not in ("preset", "format")}
    tables = rows["[[settings]]"]
    assert {name for name in of_setting if f"`{name}`" in tables} == of_setting.keys() - rows.keys()
    assert {name.strip("[]") for name in rows} - of_setting.keys() == without.keys()
    for name, each in without.items():
        ends = () if each.high is None or each.high == LARGEST_COUNT else (each.low, each.high)
        for value in (*(f"`{choice}`" for choice in each.choices), *map(str, ends)):
            assert value in rows.get(name, tables), name
    assert [name for name, each in OPTIMIZERS.items() if each.has_momentum] == ["SGD"]
    assert rows["momentum"].endswith("of SGD |")


@pytest.fixture
def place(finished_run: Path, copied_scenes: Callable[[Path], Path], tmp_path: Path) -> Path:
    """Return a folder with the files that the documented commands name: runs, images, a network and results."""
    for name in ("demo", "mine", "a", "b"):
        shutil.copytree(finished_run, tmp_path / "runs" / name, copy_function=os.link)
    for name in ("FOLDER", "other", "photos/mine", "photographs", "imagenet", "cifar10"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        copied_scenes(tmp_path / name)
    for name in ("PHOTO.jpg", "another.jpg"):
        shutil.copy(next((tmp_path / "FOLDER").rglob("*.bmp")), tmp_path / name)
    for name in ("a.trace", "b.trace"):
        record(tmp_path / name)
    lines = "Accuracy of cat: 50 %\nAccuracy of dog: 75 %\nMean accuracy: 62.5 %\n"
    for name in ("report.md", "a.md"):
        (tmp_path / name).write_text(lines, encoding="utf-8")
    (tmp_path / "b.csv").write_text("class,accuracy\ncat,0.5\ndog,0.75\n", encoding="utf-8")
    sheet = '[[table]]\nname = "a"\nrows = [{ class = "cat", accuracy = "0.5" }]\n'
    (tmp_path / "sheet.toml").write_text(sheet, encoding="utf-8")
    (tmp_path / "c.json").write_text('{"accuracy": {"cat": 0.5, "dog": 0.75}}', encoding="utf-8")
    (code,) = (
        block
        for page in list_pages()
        if page.name == "own-network.md"
        for kind, block in page.blocks
        if kind == "python"
    )
    (tmp_path / "mynets.py").write_text(code, encoding="utf-8")
    for block in (block for each in list_pages() for kind, block in each.blocks if kind == "toml"):
        if named := re.match(r"# (\S+\.toml)\n", block):
            (tmp_path / named.group(1)).write_text(block, encoding="utf-8")
    return tmp_path


@pytest.mark.slow
@pytest.mark.long(60)
def test_every_command_of_ours_that_is_shown_is_done_or_listed(call: Call, place: Path) -> None:
    wrong = []
    for command in sorted(OURS, key=lambda command: "--config" in command):
        words = shlex.split(command)[1:]
        words, target = (words[:-2], words[-1]) if ">" in words else (words, "")
        words = [PLACEHOLDERS.get(word, word) for word in words]
        if words == ["data", "scenes", "FOLDER"]:
            words[-1] = "NEW"
        alone = len(words) == 1 and words[0] in ("verify", "data", "features", "diff", "explain", "record")
        if alone or words == ["data", "check"]:
            continue
        if not {"--help", "--pictures"} & {*words}:
            words += SMALLER.get(words[0], "").split()
        code, out, error = call(*filter(None, words))
        if target:
            (place / target).write_text(out, encoding="utf-8")
        expected, part = next((LISTED[each] for each in LISTED if command.startswith(each)), (0, ""))
        if code != expected or part not in error:
            wrong.append(f"{command} ({SHOWN[command]}): exit code {code}, {error[-300:]}")
    assert wrong == []


@pytest.mark.slow
def test_the_main_command_on_photographs_is_parsed_to_its_configuration(call: Call, place: Path) -> None:
    (command,) = (command for command in SHOWN if command.startswith("nox -s train report -- "))
    code, out, error = call("train", *shlex.split(command.partition(" -- ")[2]), "--print-config")
    assert (code, error) == (0, "")
    values = tomllib.loads(out)
    for name, folder in {"data": "photographs", "imagenet": "imagenet", "cifar10": "cifar10"}.items():
        assert Path(values[name]) == Path(folder)
        assert (place / values[name]).is_dir()


@pytest.mark.parametrize("name", ["README.md", "bits.md", "features.md", "arithmetic.md"])
def test_the_first_python_of_a_page_runs_as_it_stands(name: str, numerics: Numerics) -> None:
    if name in ("bits.md", "arithmetic.md") and not numerics.portable:
        pytest.skip(f"portable arithmetic is unavailable here: {numerics.note}")
    page = next(page for page in list_pages() if page.name == name)
    block = next(block for language, block in page.blocks if language == "python")
    images = torch.linspace(-1, 1, 2 * 3 * 32 * 32).reshape(2, 3, 32, 32)
    names: dict[str, Any] = {
        "torchvision": torchvision,
        "model": torchvision.models.resnet18(weights=None),
        "images": images,
        "labels": torch.tensor([0, 1]),
        "batches": [images],
        "loader": [(images, torch.tensor([0, 1]))],
    }
    exec(block, names)  # noqa: S102  # of this checkout
    assert "result" not in names or names["result"].images == 2
