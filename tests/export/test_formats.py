"""`export` writes the same bytes from the same run, nothing private, and refuses what it was not given for."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from in4310repro.export import formats, in_toto, model_card
from in4310repro.export.table import FORMATS, OPTIONS, Extras, unused
from in4310repro.metrics import class_metrics
from in4310repro.runs.deviations import parse
from in4310repro.runs.finished import FinishedRun, image_root
from tests.conftest import Call, refused
from tests.export.conftest import Export


def hashes(folder: Path) -> dict[str, str]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.mark.parametrize("name", FORMATS)
def test_a_copy_of_a_run_elsewhere_gives_the_same_bytes(
    name: str, extras: Extras, own_run: Path, export: Export, tmp_path: Path
) -> None:
    if name == "onnx":
        pytest.importorskip("onnxscript", reason="onnxscript is not installed: .[dev]")
    formats.export(FinishedRun.open(own_run), name, tmp_path / "second", extras)
    assert hashes(export(name)) == hashes(tmp_path / "second") != {}


# A bundle, which holds every file of the run, refuses such a run.
@pytest.mark.parametrize("name", [name for name in FORMATS if name != "bundle"])
def test_no_file_names_a_private_folder_of_the_images(
    name: str, run: FinishedRun, extras: Extras, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "onnx":
        pytest.importorskip("onnxscript", reason="onnxscript is not installed: .[dev]")
        extras = replace(extras, images=image_root(run.config, None))
    # A report is of the configuration that the run has on the disk.
    extras = replace(extras, report=None)
    monkeypatch.setenv("HOME", "/home/ada")
    private = replace(run, config=replace(run.config, data="/home/ada/scenes"))
    files = formats.export(private, name, tmp_path / "out", extras)
    # The config.json of this run is still that of drawn scenes: a private one is left out, which the files say.
    assert not any(file.name == "config.json" for file in files)
    for file in files:
        content = file.read_bytes()
        assert b"/home/ada" not in content
        assert str(run.folder).encode() not in content
        assert str(tmp_path).encode() not in content
    if name in ("ro-crate", "codecheck"):
        text = files[0].read_text(encoding="utf-8")
        assert "config.json, which names a private folder" in text
        # There is no complete copy beside the file that this command could verify.
        assert "in4310repro verify RUN " in text


@pytest.mark.parametrize("name", ["in-toto", "ro-crate", "model-card", "codecheck"])
def test_without_a_verification_the_file_says_that_it_is_left_out(name: str, export: Export) -> None:
    without, sentence = export(name, date="2026-11-28"), "no result of `in4310repro verify RUN --json` was given"
    main = next(file for file in without.iterdir() if file.is_file())
    assert sentence in main.read_text(encoding="utf-8").replace("\\`", "`")


def test_an_export_into_its_own_folder_changes_nothing_and_one_beside_others_files_writes_nothing(
    export: Export, tmp_path: Path
) -> None:
    before = hashes(export("croissant"))
    assert hashes(export("croissant")) == before
    (tmp_path / "croissant" / "croissant.json").unlink()
    (tmp_path / "croissant" / "split.csv").write_text("mine", encoding="utf-8")
    before = hashes(tmp_path / "croissant")
    with pytest.raises(ValueError, match=r"split\.csv is there with other content; --out takes a new or empty folder"):
        export("croissant")
    assert hashes(tmp_path / "croissant") == before


def test_a_changed_run_is_refused(own_records: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"best\.safetensors is missing or has other bytes than were written"):
        formats.export(FinishedRun.open(own_records), "in-toto", tmp_path / "out", Extras())
    assert not (tmp_path / "out").exists()


def test_a_report_of_another_run_is_refused(export: Export, report: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(report, tmp_path / "other"))
    record = json.loads((other / "run.json").read_text(encoding="utf-8"))
    (other / "run.json").write_text(json.dumps(record | {"manifest_sha256": "0" * 64}), encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"other is not a report of .* as it is now: .*run\.json: manifest_sha256 is 0000"
    ):
        export("in-toto", report=other)
    (other / "run.json").write_text(json.dumps(record | {"figures": ["../verified.json"]}), encoding="utf-8")
    with pytest.raises(ValueError, match=r"other is not a report of .* as it is now: .*run\.json: figures"):
        export("in-toto", report=other)
    shutil.copy(report / "run.json", other / "run.json")
    page = (other / "index.html").read_text(encoding="utf-8")
    (other / "index.html").write_text(page.replace("<title>", "<title>Another ", 1), encoding="utf-8")
    with pytest.raises(ValueError, match=r"other is not a report of .* as it is now: .*index\.html: line"):
        export("in-toto", report=other)
    with pytest.raises(ValueError, match=r"holds no report: expected run\.json"):
        export("in-toto", report=tmp_path)


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (("--as", "onx"), ("no format 'onx'", "there are in-toto,", "did you mean onnx?")),
        (("--as", "ro-crate"), ("a run records no date; --date YYYY-MM-DD is needed",)),
        (("--as", "ro-crate", "--date", "28.11.2026"), ("--date 28.11.2026 is not a date; it must be YYYY-MM-DD",)),
        (("--as", "onnx", "--report", "x"), ("x holds no report: expected run.json",)),
        (("--as", "in-toto", "--verification", "differs.json"), ("differs.json lists differences of the run",)),
        (("--as", "in-toto", "--verification", "other.json"), ("is of the run with manifest sha256 0000",)),
        (("--as", "in-toto", "--verification", "less.json"), ("less.json lacks bitwise",)),
        (("--as", "in-toto", "--verification", "absent.json"), ("absent.json is not there",)),
    ],
)
def test_bad_input_is_one_sentence(
    options: tuple[str, ...], parts: tuple[str, ...], call: Call, run: FinishedRun, verification: Path, tmp_path: Path
) -> None:
    document = json.loads(verification.read_text(encoding="utf-8"))
    (tmp_path / "differs.json").write_text(json.dumps({"differences": ["scores.npz differs"]}), encoding="utf-8")
    (tmp_path / "other.json").write_text(json.dumps(document | {"manifest_sha256": "0" * 64}), encoding="utf-8")
    (tmp_path / "less.json").write_text(json.dumps({"differences": []}), encoding="utf-8")
    refused(call, ("export", f"{run.folder}", "--out", "out", *options), *parts)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "to", "date", "message"),
    [
        ("onx", "out", None, "no format 'onx'"),
        ("ro-crate", "out", None, "a run records no date; --date YYYY-MM-DD is needed"),
        ("croissant", "out", "28.11.2026", "28.11.2026 is not a date"),
        ("in-toto", "file", None, "file is a file; a folder is needed"),
    ],
)
def test_a_script_is_refused_what_the_command_refuses(
    name: str, to: str, date: str | None, message: str, run: FinishedRun, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=message):
        formats.export(run, name, tmp_path / to, Extras(date=date))
    assert not (tmp_path / "out").exists()


def test_an_unfinished_run_is_refused(call: Call, own_records: Path) -> None:
    (own_records / "metrics.json").unlink()
    refused(call, ("export", f"{own_records}", "--as", "in-toto", "--out", "out"), "holds no finished run")


def test_the_command_says_that_onnx_has_other_bits_and_by_how_much(call: Call, run: FinishedRun) -> None:
    pytest.importorskip("onnxscript", reason="onnxscript is not installed: .[dev]")
    code, printed, _ = call("export", f"{run.folder}", "--as", "onnx", "--out", "out")
    assert (code, printed.splitlines()[0]) == (0, f"wrote {Path('out', 'model.onnx')}")
    assert re.search(r"other bits than the run: its scores on 12 test images differ by up to \d\S* from", printed)


def test_the_command_says_what_it_wrote_and_what_it_left_out(
    call: Call, run: FinishedRun, verification: Path, tmp_path: Path
) -> None:
    code, printed, error = call("export", f"{run.folder}", "--as", "in-toto", "--out", "out", "--json")
    assert (code, json.loads(printed)) == (0, {"wrote": [str(Path("out", "statement.json"))]})
    assert "left out, since no --verification was given: what verify computes again" in error
    assert "left out, since no --report was given" in error
    assert (tmp_path / "out" / "statement.json").is_file()
    words = ("export", f"{run.folder}", "--as", "in-toto", "--out", "verified", "--verification", f"{verification}")
    error = call(*words, "--pixels")[2]
    assert "--as in-toto does not use --pixels" in error
    assert "no --verification was given" not in error


def test_a_run_that_trained_on_its_test_images_shows_the_result_on_others_first(run: FinishedRun) -> None:
    # As a version recorded it that had no macro F1.
    measured = {name: value for name, value in class_metrics(run.metrics).items() if name != "macro_f1"}
    unseen = {**measured, "images": 36, "loss": 1.0, "mean_class_accuracy": 0.125}
    shared = replace(
        run,
        config=replace(run.config, protocol=parse("shared-split")),
        metrics={**run.metrics, "unseen": unseen},  # type: ignore[typeddict-item]
    )
    card = model_card.contents(shared, Extras())["README.md"].decode()
    (result,) = yaml.safe_load(card.split("---")[1])["model-index"][0]["results"]
    assert (result["dataset"]["split"], result["metrics"][0]["value"]) == ("unseen", 0.125)
    assert "f1" not in [each["type"] for each in result["metrics"]]
    assert "\n* The protocol deviates from a correct one: " in card
    assert card.index("On 36 images that the run never used:") < card.index("0.1250") < card.index("On the test images")
    statement = json.loads(in_toto.contents(shared, Extras())["statement.json"])
    assert statement["predicate"]["unseen_metrics"]["mean_class_accuracy"] == 0.125


def test_an_option_that_a_format_does_not_use_is_named_and_changes_nothing(
    call: Call, run: FinishedRun, tmp_path: Path
) -> None:
    assert unused("bundle", OPTIONS.values()) == []
    for name in FORMATS:
        if name == "onnx":
            pytest.importorskip("onnxscript", reason="onnxscript is not installed: .[dev]")
        words = ("export", f"{run.folder}", "--as", name)
        code, printed, error = call(*words, "--out", name, "--date", "2026-11-30", "--pixels", "--json")
        used = {"ro-crate": ["--date"], "croissant": ["--date"], "bundle": ["--pixels", "--date"]}
        needless = [option for option in ("--pixels", "--date") if option not in used.get(name, [])]
        assert (code, json.loads(printed).get("not_used", [])) == (0, needless)
        assert (f"--as {name} does not use {', '.join(needless)}" in error) == bool(needless)
    assert call(*words[:3], "codecheck", "--out", "again")[0] == 0
    assert (tmp_path / "again/codecheck.yml").read_bytes() == (tmp_path / "codecheck/codecheck.yml").read_bytes()
