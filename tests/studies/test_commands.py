"""The commands of studies: what they print and how they end, where a stand-in computes nothing."""

from pathlib import Path

import pytest

from in4310repro.cli import application
from in4310repro.system.files import write_file
from studies import ablation, commands
from studies.published import page as published_page
from tests.conftest import Call


@pytest.fixture(autouse=True)
def _studies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "app", commands.make_app())


@pytest.mark.parametrize("chosen", [(), ("warm-start", "shared-split")])
def test_an_ablation_prints_its_page_and_its_files_and_says_what_an_interrupt_leaves(
    chosen: tuple[str, ...], call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ablate(_config: object, _context: object, runs: Path, out: Path, *, protocols: tuple[str, ...]) -> list[Path]:
        assert protocols == (chosen or ablation.EACH_THEN_ALL)
        if (runs / "corrected/config.json").exists():
            raise KeyboardInterrupt
        write_file(runs / "corrected/config.json", b"{}")
        return [write_file(out / name, text) for name, text in (("ablation.json", b"{}"), ("ablation.md", b"| page |"))]

    monkeypatch.setattr(ablation, "ablation", ablate)
    words = ("ablation", "--preset", "tiny", *(("--deviations", ",".join(chosen)) if chosen else ()))
    wrote = [f"wrote reports/ablation/ablation.{kind}" for kind in ("json", "md")]
    code, printed, _ = call(*words)
    assert (code, printed.splitlines()) == (0, ["| page |", *wrote])
    code, _, error = call(*words)
    kept = "in4310repro: interrupted; runs/ablation is kept, and the same command continues"
    assert (code, error.splitlines()[-1]) == (130, kept)


def test_a_page_is_of_runs_from_scratch_unless_imagenet_is_named(
    own_records: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    for function in ("write", "write_evidence"):
        monkeypatch.setattr(published_page, function, lambda *_given, name=function: [Path(name)])
    words = ("published", str(own_records), str(own_records))
    assert call(*words)[:2] == (0, "wrote write\n")
    assert call(*words, "--from-imagenet")[:2] == (0, "wrote write_evidence\n")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("ablation --preset tiny --deviations sum", ("protocol is 'sum'", "one of corrected")),
        ("ablation --preset tiny --deviations one-set", ("protocol is 'one-set'", "one of corrected")),
        ("ablation --preset tiny --deviations nothing", ("nothing",)),
        ("ablation --preset tiny --deviations shared-split,", ("deviation",)),
        ("published nowhere nowhere", ("nowhere is not a run folder", "in4310repro train")),
        ("published nowhere", ("Missing argument",)),
    ],
)
def test_wrong_input_of_a_study_is_refused_as_that_of_a_command(words: str, named: tuple[str, ...], call: Call) -> None:
    code, _, error = call(*words.split())
    assert code == 2
    assert all(part in error for part in named)
