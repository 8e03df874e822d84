"""The output of commands: lines of text, only errors with --quiet, one JSON document with --json."""

import functools
import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import shellingham  # type: ignore[import-untyped]

from in4310repro.cli import application, options
from in4310repro.runs.folder import RunFolder
from tests.conftest import Call, Replace, refused

PRINTED = """| class | accuracy |
| --- | --- |
| sea | 0.9000 |
| forest | 0.8000 |

Mean accuracy over all classes: {mean:.4f}
"""


def read_document(call: Call, *words: str, code: int = 0) -> Any:
    """Return the only JSON document that a command prints with --json."""
    ended, printed, _ = call(*words, "--json")
    assert ended == code
    return json.loads(printed)


@pytest.fixture
def report(tmp_path: Path) -> Callable[[float], str]:
    def write(mean: float) -> str:
        (tmp_path / "report.md").write_text(PRINTED.format(mean=mean))
        return "report.md"

    return write


def test_json_stands_before_a_command_or_after_it(call: Call) -> None:
    after = read_document(call, "cache")
    assert after.keys() == {"folder", "bytes", "limit", "cleared"}
    assert json.loads(call("--json", "cache")[1]).keys() == after.keys()
    assert "B  in" in call("cache")[1]


def test_quiet_leaves_the_exit_code_and_errors(call: Call, report: Callable[[float], str]) -> None:
    assert call("cache", "--quiet") == (0, "", "")
    assert call("--quiet", "audit", report(0.95)) == (3, "", "")
    assert call("audit", report(0.85), "-q") == (0, "", "")
    code, printed, error = call("audit", "nowhere.md", "--quiet")
    assert (code, printed) == (2, "")
    assert "nowhere.md" in error


def test_quiet_leaves_json_that_is_asked_for(call: Call) -> None:
    code, printed, error = call("fingerprint", "--device", "cpu", "--quiet", "--json")
    assert (code, error) == (0, "")
    assert json.loads(printed)["device"] == "cpu"


def test_audits_are_json_with_the_exit_code_of_lines(call: Call, report: Callable[[float], str]) -> None:
    (result,) = read_document(call, "audit", report(0.95), "--ceiling", "best=0.5", code=3)["files"]
    assert result["file"] == "report.md"
    assert result["result"]["findings"]
    assert result["result"]["options"]["ceilings"] == {"best": 0.5}
    (shown,) = read_document(call, "audit", "report.md", "--show")["files"]
    assert "sea" in shown["recognised"]
    assert call("audit", "report.md", "--show") == (0, f"{shown['recognised']}\n", "")


def test_checks_of_runs_are_json(call: Call, own_run: Path) -> None:
    equal = read_document(call, "compare", str(own_run), str(own_run))
    assert equal == {"equal": True, "differences": []}
    verified = read_document(call, "verify", str(own_run))
    assert verified["differences"] == []
    assert verified["manifest_sha256"] == RunFolder(own_run).manifest_sha256()
    (own_run / "config.json").write_text("[]")
    assert "config.json" in read_document(call, "verify", str(own_run), code=1)["differences"][0]


def test_the_command_that_verify_recommends_has_its_run_as_one_word(call: Call, own_run: Path) -> None:
    code, out, error = call("verify", f"{own_run.rename(own_run.with_name('my run'))}")
    assert (code, 'my run" --manifest-sha256 SHA256 compares it' in out + error) == (0, True)


def test_measurements_of_runs_are_json(
    call: Call, finished_run: Path, tmp_path: Path, copied_scenes: Callable[[Path], Path]
) -> None:
    root = copied_scenes(tmp_path / "scenes")
    evaluated = read_document(call, "evaluate", str(finished_run), "--data", str(root))
    assert [evaluated[name] for name in ("images", "trained_on", "chose_fit")] == [12, 24, 12]
    images = read_document(call, "predict", str(finished_run), "scenes/sea")["images"]
    lines = call("predict", str(finished_run), "scenes/sea")[1].splitlines()[1:]
    assert [line.split(",")[:2] for line in lines] == [[each["path"], each["predicted"]] for each in images]
    assert read_document(call, "predict", str(finished_run), "scenes", "--out", "a.csv") == {
        "wrote": ["a.csv"],
        "images": 48,
    }


def test_what_is_there_is_json(call: Call, tmp_path: Path) -> None:
    assert read_document(call, "data", "scenes", "mine", "--images", "1", "--image-size", "32") == {"wrote": ["mine"]}
    assert read_document(call, "data", "check", "mine")["images"] == dict.fromkeys(
        ["buildings", "forest", "glacier", "mountain", "sea", "street"], 1
    )
    shutil.copy(next((tmp_path / "mine/sea").iterdir()), tmp_path / "mine/forest/copy.bmp")
    assert read_document(call, "data", "check", "mine", code=1)["conflicts"]
    found = read_document(call, "doctor")
    assert found["demo_can_run"]
    assert {"topic", "text", "wanted", "stops_demo"} == found["findings"][0].keys()
    (vgg,) = read_document(call, "modules", "--list", "vgg11")["networks"]
    assert (vgg["name"], vgg["parameters"]) == ("vgg11", 132863336)  # torchvision's documentation
    conv, *_ = read_document(call, "modules", "resnet18", "--image-size", "32")["modules"]
    assert conv["name"] == "conv1"
    assert conv["shape"] == [64, 16, 16]
    assert read_document(call, "train", "--preset", "tiny", "--print-config")["image_size"] == 32


@pytest.mark.parametrize(
    ("typed", "word", "completed"),
    [
        ("in4310repro tra", 1, "train"),
        ("in4310repro train --lear", 2, "--learning-rate"),
        ("in4310repro train --preset t", 3, "tiny"),
        ("in4310repro report --numerics p", 3, "portable"),
        ("in4310repro train --protocol wa", 3, "warm-start"),
        ("in4310repro train --protocol corr", 3, "corrected"),
        ("in4310repro train --device cp", 3, "cpu"),
        ("in4310repro train --train al", 3, "all"),
    ],
)
def test_a_shell_completes_commands_options_and_values(
    typed: str, word: int, completed: str, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("_IN4310REPRO_COMPLETE", "bash_complete"), ("COMP_WORDS", typed), ("COMP_CWORD", f"{word}")):
        monkeypatch.setenv(name, value)
    assert call() == (0, f"plain,{completed}\n", "")


@pytest.fixture
def replace_detection(monkeypatch: pytest.MonkeyPatch) -> Replace:
    return functools.partial(monkeypatch.setattr, shellingham, "detect_shell")


def test_the_completion_of_a_shell_is_printed(call: Call, replace_detection: Replace) -> None:
    replace_detection(lambda: ("bash", "/bin/bash"))
    code, printed, error = call("--show-completion")
    assert (code, error) == (0, "")
    assert "complete -o nosort -F _in4310repro_completion in4310repro" in printed
    assert "Usage" not in printed


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("--show-completion", "bash"), "complete -o nosort -F _in4310repro_completion in4310repro"),
        (("--show-completion=zsh",), "compdef _in4310repro_completion in4310repro"),
        (("-q", "--show-completion", "fish"), "complete --no-files --command in4310repro"),
    ],
)
def test_the_completion_of_a_named_shell_is_printed(words: tuple[str, ...], part: str, call: Call) -> None:
    code, printed, error = call(*words)
    assert (code, error) == (0, "")
    assert part in printed


def test_a_shell_without_completion_is_refused_with_those_that_have_it(call: Call, replace_detection: Replace) -> None:
    refused(call, ("--show-completion", "fsh"), "'fsh'", "bash, zsh, fish", "did you mean fish?")
    replace_detection(Mock(side_effect=shellingham.ShellDetectionFailure))
    refused(call, ("--install-completion",), "bash, zsh, fish")


def test_an_error_is_no_document(call: Call) -> None:
    code, printed, error = call("verify", "nowhere", "--json")
    assert (code, printed) == (2, "")
    assert "nowhere" in error


def commands() -> dict[str, Any]:
    """Return all commands by name, such as `train` or `data check`."""
    root: Any = application.app
    data = root.commands["data"].commands
    return {name: command for name, command in root.commands.items() if name != "data"} | {
        f"data {name}": command for name, command in data.items()
    }


def test_every_example_of_a_help_is_a_command_line() -> None:
    root: Any = application.app
    for words, command in {"": root, **commands()}.items():
        lines = options.examples(command)
        assert lines, words
        for example in (each for line in lines for each in line.partition(" #")[0].split("&&")):
            launcher, program, rest = example.partition(">")[0].partition("in4310repro")
            assert program
            assert not launcher.strip() or re.fullmatch(r" *torchrun --nproc-per-node \d+ -m ", launcher)
            given = shlex.split(rest)
            assert " ".join(given).startswith(words)
            name, *arguments = [" ".join(given[:2]), *given[2:]] if given[0] == "data" else given
            commands()[name].make_context(name, arguments)


def test_a_help_lists_each_argument_once_then_options_in_groups_of_which_output_is_the_last(call: Call) -> None:
    printed = call("report", "--help")[1]
    groups = ["Arguments", "The run", "Options", "Images", "Machine", "Output", "Examples"]
    assert re.findall(r"^(\w.*):$", printed, re.MULTILINE) == groups
    assert len(re.findall(r"^  \[?run\b", printed, re.MULTILINE | re.IGNORECASE)) == 1
    assert 80 < max(map(len, printed.partition("Examples:")[0].splitlines())) <= 110


@pytest.mark.parametrize("words", commands(), ids=str)
def test_no_help_speaks_of_imports_and_every_option_says_what_it_is(words: str) -> None:
    command = commands()[words]
    assert "import" not in command.help
    for parameter in command.params:
        assert parameter.help, parameter.name
        assert "import" not in parameter.help
