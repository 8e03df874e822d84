"""The command line: one line and exit code 2 for wrong input, 1 for a difference, 130 for an interrupt."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import click
import pytest
from PIL import Image

from in4310repro.cli import application
from in4310repro.cli.options import KINDS
from in4310repro.report import page
from in4310repro.runs.folder import RunFolder
from in4310repro.runs.presets import PRESETS
from in4310repro.system import machine
from in4310repro.system.files import json_bytes, write_file
from in4310repro.verification import routine
from tests.conftest import Call, Replace, refused
from tests.processes import held_by_another_process


def pictures(root: Path, counts: dict[str, int]) -> Path:
    for name, count in counts.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            Image.new("RGB", (32, 32), (number, number, len(name))).save(root / name / f"{number}.png")
    return root


@pytest.mark.parametrize(
    ("counts", "split", "sentence"),
    [
        ({"a": 8, "b": 8, "c": 0}, (), "data/c has no images"),
        ({"a": 18, "b": 2}, ("--split", "12/4/4"), "class b has 2 images; at least 3 are needed"),
        ({"a": 9, "b": 9}, ("--split", "10/4/6"), "a/x.jpg is not a readable image"),
    ],
)
def test_a_class_that_cannot_be_trained_on_is_one_line(
    counts: dict[str, int], split: tuple[str, ...], sentence: str, call: Call, tmp_path: Path
) -> None:
    root = pictures(tmp_path / "data", counts)
    more: tuple[str, ...] = ()
    if "a/x.jpg" in sentence:
        (root / "a/x.jpg").write_text("no picture")
        (root / "b/y.png").write_bytes((root / "b/0.png").read_bytes())
        more = ("replace or remove it",)
    refused(call, ("train", "--preset", "tiny", "--data", str(root), *split), sentence, *more)


@pytest.mark.parametrize(
    ("line", "words", "part"),
    [
        (
            '[[settings]]\nname = "a"\noptimizer = "Adamaz"',
            (),
            "optimizer is 'Adamaz'; it must be one of AdamW, RMSprop, SGD",
        ),
        ('modules = ["layer9"]', ("--preset", "tiny"), "layer9"),
        (
            '[[settings]]\nname = "a"\noptimizer = "Adam"',
            ("--preset", "tiny", "--numerics", "portable"),
            "optimizer Adam cannot be used in portable arithmetic",
        ),
    ],
)
def test_a_wrong_value_of_a_file_is_found_before_training(
    line: str, words: tuple[str, ...], part: str, call: Call, tmp_path: Path
) -> None:
    (tmp_path / "mine.toml").write_text(line)
    refused(call, ("train", *words, "--config", "mine.toml"), part, *(("layer4.1.conv1",) if part == "layer9" else ()))
    assert not (tmp_path / "runs").exists()


def test_an_unknown_module_is_one_line(call: Call, own_run: Path) -> None:
    config = (own_run / "config.json").read_text()
    (own_run / "config.json").write_text(config.replace('"layer4.1.conv1"', '"layer9.conv1"'))
    refused(call, ("report", str(own_run)), "layer9.conv1", "layer4.1.conv1")


def test_a_run_that_is_not_there_names_those_that_are_the_nearest_first(call: Call, tmp_path: Path) -> None:
    for name in ("runs/cats", "runs/demo", "elsewhere/dogs"):
        write_file(tmp_path / name / "config.json", b"{}")
    for command in ("report", "verify", "evaluate"):
        refused(call, (command, "runs/cat"), "runs/cat is not a run folder", "runs/cats, runs/demo")
    refused(call, ("report", "elsewhere/dog"), "elsewhere/dogs, runs/")


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("--out", "{run}"), ("{run} names a run", "in4310repro report {run} [--out FOLDER]")),
        (("--out", "runs/typo"), ("in4310repro report runs/typo [--out FOLDER]",)),
        (("--data", "photos/mine"), ("--data photos/mine", "in4310repro report runs/mine")),
        (("--preset", "tiny"), ("--preset", "in4310repro report RUN [--out FOLDER]")),
        (("{run}", "--preset", "tiny"), ("--preset", "in4310repro report RUN [--out FOLDER]")),
        (("{run}", "--epochs", "9"), ("--epochs", "in4310repro report RUN [--out FOLDER]")),
        (("{run}", "--config", "mine.toml"), ("--config", "in4310repro report RUN [--out FOLDER]")),
        (("{run}", "--reports", "pages"), ("--reports", "in4310repro report RUN [--out FOLDER]")),
    ],
    ids=lambda value: " ".join(value),
)
def test_the_former_uses_of_report_end_with_the_present_one(
    words: tuple[str, ...], parts: tuple[str, ...], call: Call, own_records: Path, tmp_path: Path
) -> None:
    before = sorted(tmp_path.rglob("*"))
    words, parts = (tuple(each.format(run=own_records) for each in texts) for texts in (words, parts))
    refused(call, ("report", *words), *parts)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "place"),
    [
        (("HOME/head",), "reports/head"),
        (("HOME/head/",), "reports/head"),
        (("HOME/other/../head", "--no-photographs"), "reports/head"),
        (("HOME/head", "--out", "pages/of it"), "pages/of it"),
    ],
    ids=["name", "slash", "dots", "out"],
)
def test_a_report_has_the_name_of_its_run_or_goes_where_out_says(
    words: tuple[str, ...], place: str, call: Call, own_run: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    (home / "other").mkdir(parents=True)
    own_run.rename(home / "head")
    code, printed, _ = call("report", *(each.replace("HOME", f"{home}") for each in words))
    assert code == 0
    assert printed.splitlines() == [f"wrote {place}/report.md", f"wrote {place}/index.html"]
    assert all((tmp_path / place / name).is_file() for name in ("figure11.json", "check-images.zip"))


def test_a_report_does_not_replace_that_of_another_run(call: Call, own_run: Path, tmp_path: Path) -> None:
    other = {"files_sha256": dict.fromkeys(("config.json", "split.csv"), "0" * 64)}
    write_file(tmp_path / "reports/tiny/run.json", json_bytes(other))
    code, printed, error = call("report", str(own_run))
    assert (code, printed.splitlines()[0]) == (0, "wrote reports/tiny-2/report.md")
    assert "reports/tiny holds the report of another run" in error


def test_a_verified_run_exits_with_0_and_a_damaged_one_with_1(call: Call, own_run: Path) -> None:
    code, printed, _ = call("verify", str(own_run))
    assert code == 0
    assert printed.splitlines()[0] == f"{own_run}: verified, no difference, bit for bit"
    assert "every file matches the manifest; whoever changes a file can rewrite the manifest too" in printed
    assert printed.splitlines()[-1].startswith(f"{own_run}: computed again, bit for bit: the split ")
    sha256 = printed.split()[-1]
    assert call("verify", str(own_run), "--manifest-sha256", sha256[:-1])[0] == 2
    code, printed, _ = call("verify", str(own_run), "--data", "nowhere", "--manifest-sha256", "0" * 64)
    assert code == 1
    assert f"manifest.json has the sha256 {sha256} instead of 000" in printed
    data = bytearray((own_run / "scores.npz").read_bytes())
    data[-5] ^= 1
    (own_run / "scores.npz").write_bytes(bytes(data))
    code, printed, _ = call("verify", str(own_run))
    assert code == 1
    verdict, *differences = printed.splitlines()
    assert verdict == f"{own_run}: not verified, {len(differences)} difference{'s' * (len(differences) > 1)}"
    assert all(line.startswith("difference: ") for line in differences)
    assert "scores.npz" in printed


def test_a_run_whose_images_are_not_there_has_a_verdict_too(call: Call, own_run: Path, tmp_path: Path) -> None:
    for words in (("--data", str(tmp_path / "nowhere")), ("--replay", "0", "--data", str(tmp_path / "nowhere"))):
        code, printed, error = call("verify", str(own_run), *words)
        assert code == 2
        assert printed == f"{own_run}: neither verified nor refuted; the error says what is missing\n"
        assert "nowhere" in error
    assert call("verify", str(tmp_path / "none"))[1].startswith(f"{tmp_path / 'none'}: neither verified nor refuted")


@pytest.mark.parametrize(("recorded", "chosen"), [("cpu", "cpu"), ("cuda", "auto"), ("cuda:1", "auto")])
def test_a_run_is_used_on_the_cpu_if_it_was_recorded_there_and_else_on_any_device(
    recorded: str, chosen: str, call: Call, own_records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def activate(mode: str, device: str) -> None:
        raise ValueError(f"{mode} on {device}")

    monkeypatch.setattr("in4310repro.system.numerics.activate", activate)
    run = RunFolder.open(own_records)
    fingerprint = json.loads((own_records / "fingerprint.json").read_text()) | {"device": recorded}
    run.write_json("fingerprint.json", fingerprint)
    refused(call, ("evaluate", str(own_records)), f"{fingerprint['numerics']} on {chosen}")


@pytest.mark.parametrize("name", ["config.json", "fingerprint.json"])
def test_a_run_whose_description_is_damaged_is_a_difference_too(name: str, call: Call, own_records: Path) -> None:
    (own_records / name).write_text("[]")
    code, printed, _ = call("verify", str(own_records))
    assert code == 1
    assert f"{name} is missing or has other bytes" in printed


def test_an_audit_exits_with_3_where_a_mean_is_not_that_of_what_it_took_for_classes(call: Call, tmp_path: Path) -> None:
    values = [count / 41 for count in (30, 35, 40)]
    lines = [f"Accuracy for class {label}: {value!r}" for label, value in enumerate(values, start=1)]
    for mean, code in ((sum(values) / 3, 0), (sum(values) / 3 + 1e-6, 3)):
        (tmp_path / "report.md").write_text("\n".join([*lines, f"Mean accuracy over all classes: {mean}"]))
        assert call("audit", "report.md", "--out", "result.json")[0] == code
        assert (tmp_path / "result.json").is_file()


def test_a_run_that_is_nearly_named_is_suggested(call: Call, tmp_path: Path) -> None:
    (tmp_path / "runs/demo").mkdir(parents=True)
    for name in ("config.json", "metrics.json"):
        (tmp_path / "runs/demo" / name).touch()
    for words in (("verify", "runs/dmeo"), ("compare", "runs/dmeo", "runs/demo")):
        refused(call, words, "is not a run folder", "there: runs/demo")


def test_an_interrupt_exits_with_130(call: Call, replace_train: Replace) -> None:
    def interrupted(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    replace_train(interrupted)
    for words in (("train", "--preset", "tiny"), ("demo",)):
        code, _, error = call(*words)
        assert (code, "interrupted" in error) == (130, True), words


def test_a_run_is_evaluated_on_another_folder(
    call: Call, own_run: Path, tmp_path: Path, copied_scenes: Callable[[Path], Path]
) -> None:
    root = copied_scenes(tmp_path / "scenes")
    code, printed, _ = call("evaluate", str(own_run), "--data", str(root), "--out", "result.json")
    assert code == 0
    measured = json.loads((tmp_path / "result.json").read_text())
    first, means, _, *rows, similar, last = printed.splitlines()
    assert (first.split(",")[0], last) == ("scenes: 48 images", "wrote result.json")
    said = "24 of 48 were trained on, 12 chose the fit; on the 12 others: mean class accuracy"
    assert means.startswith(f"{said} {measured['mean_class_accuracy']:.4f}")
    assert similar.startswith("near-duplicates of seen images: ")
    assert f", accuracy {measured['accuracy']:.4f}" in means
    assert [row.split()[:3] for row in rows] == [
        [name, "2", f"{recall:.4f}"]
        for name, recall in zip(measured["classes"], measured["class_accuracy"], strict=True)
    ]


def test_a_checked_folder_exits_with_0_and_one_with_copies_under_two_labels_with_1(call: Call, tmp_path: Path) -> None:
    assert call("data", "scenes", "mine", "--images", "2", "--image-size", "64")[0] == 0
    code, text, _ = call("data", "check", "mine")
    assert (code, text.splitlines()[0].split(":")[0]) == (0, "12 images")
    (tmp_path / "mine/sea/copy.bmp").write_bytes(next((tmp_path / "mine/forest").iterdir()).read_bytes())
    code, text, _ = call("data", "check", "mine", "--out", "result.json")
    assert code == 1
    assert "1 of them with several labels" in text
    assert (tmp_path / "result.json").is_file()
    refused(call, ("data", "check", "mine", "--split", "nowhere.csv"), "nowhere.csv is not there")


def test_scenes_are_drawn_into_a_new_folder_only(call: Call, tmp_path: Path) -> None:
    assert call("data", "scenes", "mine", "--images", "1", "--image-size", "32")[0] == 0
    assert sorted(file.parent.name for file in (tmp_path / "mine").rglob("*.bmp"))[0] == "buildings"
    refused(call, ("data", "scenes", "mine"), "mine is not empty")


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("trian", ("no command 'trian'", "did you mean train?")),
        ("data chekc mine", ("no command 'chekc'; there are scenes, check; did you mean check?",)),
        ("train --epoch 3", ("No such option: --epoch", "--epochs")),
        ("verify runs/tiny --epochs 3", ("No such option: --epochs",)),
        ("train --preset dmeo", ("did you mean demo?",)),
        ("train --preset big", ("preset is 'big'; it must be one of demo, course, tiny",)),
        ("train --preset course", ("--data FOLDER names their class folders",)),
        ("train --preset tiny --data nowhere", ("no folder nowhere",)),
        ("train --preset tiny --imagenet nowhere", ("no folder nowhere",)),
        ("train --numerics portabel", ("did you mean portable?",)),
        ("train --device cdua --numerics native", ("did you mean cuda?",)),
        ("train --optimizer Adam", ("--optimizer chooses one of AdamW, RMSprop, SGD", "did you mean AdamW?")),
        ("train --learning-rate 0.1", ("--learning-rate is for one setting, and there are 3", "AdamW, RMSprop, SGD")),
        ("train --protocol shared-splt", ("did you mean shared-split?",)),
        ("train --preset tiny --protocol train-mode", ("protocol is 'train-mode'", "batch-norm-in-train-mode")),
        ("train --preset tiny --weights imagnet", ("did you mean imagenet?",)),
        ("train --preset tiny --model resnt18", ("did you mean resnet18?",)),
        ("features --data . --out y.json --samples image", ("did you mean images?",)),
        ("published nowhere", ("it is a study now", "nox -s evidence -- published")),
        ("demo --break --svg a.svg", ("no option --svg; --json prints",)),
        ("train --next-command a.json", ("no option --next-command; --json prints the run",)),
        ("compare nowhere nowhere", ("nowhere is not a run folder", "in4310repro train")),
        ("compare nowhere", ("Missing argument",)),
        ("report runs/tiny", ("runs/tiny is not a run folder", "in4310repro train")),
        ("report", ("runs/demo is not a run folder", "in4310repro train")),
        ("audit nowhere.md", ("nowhere.md",)),
    ],
)
def test_bad_usage_is_one_line(call: Call, words: str, parts: tuple[str, ...]) -> None:
    refused(call, tuple(words.split()), *parts)


@pytest.mark.parametrize("number", [1, 2, 8])
def test_a_run_of_another_format_is_refused_by_every_command_that_reads_one(
    number: int, call: Call, own_records: Path
) -> None:
    text = (own_records / "config.json").read_text()
    RunFolder.open(own_records).write_bytes("config.json", text.replace('"format": 7', f'"format": {number}').encode())
    run = str(own_records)
    for words in (("verify", run), ("compare", run, run), ("evaluate", run), ("report", run)):
        refused(call, words, f"config.json is of format {number} and this version reads formats 3, 4, 5, 6 and 7; ")
    resumed = ("train", "--preset", "tiny", "--out", run, "--resume")
    refused(call, resumed, f"is of format {number} and this version reads")


def test_the_fingerprint_is_printed_as_json(call: Call) -> None:
    code, printed, _ = call("fingerprint", "--device", "cpu")
    assert code == 0
    assert len(json.loads(printed[printed.index("{") :])["numeric_class"]) == 12


def test_it_is_said_why_arithmetic_is_not_portable(call: Call, remove_library: Callable[[], None]) -> None:
    remove_library()
    code, _, error = call("fingerprint", "--device", "cpu")
    assert (code, error.startswith("native arithmetic, because portable is unavailable: ")) == (0, True)


@pytest.mark.parametrize(
    "name",
    [
        *("train", "report", "verify", "compare", "evaluate", "features", "audit", "fingerprint", "data"),
        *("doctor", "cache", "modules", "predict", "demo", "diff", "explain"),
    ],
)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_has_help(name: str, option: str, call: Call) -> None:
    code, printed, _ = call(name, option)
    assert code == 0
    assert "Usage" in printed


def options_of(name: str) -> dict[str, bool]:
    """Return the options of a command, each with True if its help shows it."""
    parameters = application.app.commands[name].params
    return {max(each.opts, key=len): not each.hidden for each in parameters if isinstance(each, click.Option)}


def test_help_of_train_has_what_most_need_on_fifty_lines_and_help_all_has_every_option(call: Call) -> None:
    short, full = call("train", "--help")[1], call("train", "--help-all")[1]
    assert len(short.splitlines()) <= 50
    named = {name for name in options_of("train") if f"  {name}" in short or f", {name}" in short}
    assert {"--preset", "--out", "--data", "--model", "--epochs", "--resume", "--help-all"} < named
    assert len(named - {"--quiet", "--json", "--help", "--help-all"}) == 10
    assert all(name in full for name in options_of("train"))


def test_each_command_has_one_sentence_in_the_help_of_all(call: Call) -> None:
    assert ". " not in call()[1].partition("Train and report:")[2].partition("Output:")[0]


def test_every_setting_that_train_takes_is_one_of_a_configuration() -> None:
    assert all(all(options_of(name).values()) for name in ("train", "report", "demo"))
    assert set(KINDS) <= set(vars(PRESETS["demo"]))


def test_a_bare_call_says_what_there_is_and_is_no_error(call: Call) -> None:
    code, printed, error = call()
    assert (code, error) == (0, "")
    assert (
        printed.index("in4310repro train  ")
        < printed.index("in4310repro report  ")
        < printed.index("Train and report:")
    )


def test_what_maintainers_need_stands_below_everything_else(call: Call) -> None:
    shown = call("--help")[1]
    before, _, below = shown.partition("For maintainers:")
    named = [
        line.split()[0]
        for line in below.partition("Output:")[0].splitlines()
        if line.startswith("  ") and line[2] != " "
    ]
    assert named == ["fingerprint", "cache"]
    assert all(f"\n  {name} " in before for name in ("train", "report", "verify", "predict", "data", "doctor"))


@pytest.mark.parametrize(
    ("model", "meant"),
    [
        ("mynets.small", "mynets:small"),
        ("mynets/small", "mynets:small"),
        ("./nets/mine.py:small", "nets.mine:small"),
        ("timm.resnet10t", "timm:resnet10t"),
        ("resnet-18", "resnet18"),
    ],
)
def test_a_network_that_is_nearly_named_is_suggested_with_its_colon(model: str, meant: str, call: Call) -> None:
    refused(call, ("train", "--preset", "tiny", "--model", model), model, f"did you mean {meant}?")
    code, _, error = call("modules", model)
    assert (code, f"did you mean {meant}?" in error) == (2, True)


@pytest.fixture
def pixel_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a cache with 3 MB of decoded pixels."""
    monkeypatch.setenv("IN4310REPRO_CACHE", f"{tmp_path}")
    write_file(tmp_path / "pixels" / "a.pixels", bytes(3 * 2**20))
    return tmp_path


@pytest.mark.usefixtures("pixel_cache")
def test_the_doctor_says_in_short_what_fingerprint_and_cache_print(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in machine.PACKAGES:
        monkeypatch.setitem(sys.modules, module, None)
    printed = call("doctor")[1]
    for part in (
        *("scikit-learn 1.", "+ processor ", "+ source ", "numeric class", "3.15 MB of pixels", "pixels may take"),
        *("timm's networks: --model timm:NAME", "pip install timm", "pip install pypdf", "pip install pillow-heif"),
    ):
        assert part in printed
    assert re.search(r"\+ source +(commit [0-9a-f]{12}\b|no checkout)", printed)
    assert "photographs of your own are installed" not in printed
    for module in machine.PACKAGES:
        monkeypatch.setitem(sys.modules, module, pytest)
    monkeypatch.setenv("IN4310REPRO_CACHE_LIMIT", "much")
    code, printed, _ = call("doctor")
    assert (code, "IN4310REPRO_CACHE_LIMIT is 'much'" in printed) == (0, True)
    assert "is not installed" not in printed


def test_the_version_is_that_of_the_installation(call: Call) -> None:
    assert call("--version") == (0, f"in4310repro {metadata.version('in4310repro')}\n", "")


def test_the_cache_is_shown_and_cleared_and_nothing_else_in_its_folder(
    call: Call, pixel_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pixel_cache / "mine").write_bytes(b"kept")
    monkeypatch.setenv("IN4310REPRO_CACHE_LIMIT", "0.5")
    shown = call("cache")[1]
    for part in ("3.15 MB  in", " 500 MB  ", "pixels may hold before the longest unused is evicted"):
        assert part in shown
    code, printed, _ = call("cache", "--clear")
    assert (code, sorted(each.name for each in pixel_cache.iterdir())) == (0, ["mine"])
    assert "3.15 MB  removed from" in printed
    assert "0 B  in" in call("cache")[1]


def test_the_doctor_says_that_the_demo_can_run_on_a_machine_with_just_what_it_asks_for(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    just = shutil.disk_usage(".")._replace(free=2**29)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: just)
    monkeypatch.setattr(machine, "memory", lambda: 2**31)
    monkeypatch.setattr(shutil, "which", lambda name: name if name == "c++" else None)
    code, printed, _ = call("doctor")
    assert (code, "the demo can run" in printed) == (0, True)
    assert "+ compiler     c++\n" in printed
    assert "no kernel" in printed or "+ statistics   compiled" in printed


@pytest.mark.parametrize("fault", ["memory", "disk", "rights"])
def test_the_doctor_names_what_stops_the_demo(fault: str, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    full = shutil.disk_usage(".")._replace(free=2**20)
    change: tuple[Any, str, Any]
    change, text = {
        "memory": ((machine, "memory", lambda: 2**30), "! devices"),
        "disk": ((shutil, "disk_usage", lambda _folder: full), "! runs"),
        "rights": ((os, "access", lambda *_arguments: False), "! cache        nothing can be written to"),
    }[fault]
    monkeypatch.setattr(*change)
    code, printed, _ = call("doctor")
    assert code == 2
    assert text in printed
    assert "the demo can run" not in printed


READERS = (
    ("report", "RUN", "--out", "report"),
    ("verify", "RUN"),
    ("evaluate", "RUN"),
    ("predict", "RUN", "image.png"),
    ("compare", "RUN", "RUN"),
    ("export", "RUN", "--as", "model-card", "--out", "card"),
    ("features", "RUN", "--pictures", "maps"),
    ("data", "check", "RUN", "--weights", "RUN"),
    ("demo", "--break", "RUN"),
)


@pytest.mark.process
def test_every_command_that_reads_a_run_refuses_it_while_another_process_works_on_it(
    own_records: Path, call: Call, tmp_path: Path
) -> None:
    sentence = f"in4310repro: another process works on {own_records}; wait for it"
    (tmp_path / "image.png").touch()
    with held_by_another_process(own_records):
        for words in READERS:
            code, _, error = call(*(str(own_records) if word == "RUN" else word for word in words))
            assert (code, error.splitlines()[-1]) == (2, sentence), words


def test_a_run_that_another_process_writes_meanwhile_is_not_called_different(
    own_run: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify = routine.verify

    def resumed(*given: Any, **named: Any) -> object:
        RunFolder.open(own_run).write_json("metrics.json", {})
        return verify(*given, **named)

    monkeypatch.setattr(routine, "verify", resumed)
    code, printed, error = call("verify", str(own_run))
    assert code == 2
    assert "difference" not in printed
    assert f"{own_run} was changed by another process while it was read; give the command again" in error


@pytest.mark.process
def test_a_report_locks_its_run_until_it_is_written(own_run: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    write, ended = page.write, list[subprocess.CompletedProcess[str]]()

    def resuming(*given: Any, **named: Any) -> object:
        imports = "import sys; from pathlib import Path; from in4310repro.system.files import lock"
        code = f"{imports}; lock(Path(sys.argv[1]))"
        words = [sys.executable, "-c", code, str(own_run)]
        ended.append(subprocess.run(words, capture_output=True, text=True, check=False))
        return write(*given, **named)

    monkeypatch.setattr(page, "write", resuming)
    assert call("report", str(own_run), "--out", "report")[0] == 0
    assert f"ValueError: another process works on {own_run}; wait for it" in ended[0].stderr
    with held_by_another_process(own_run):
        pass


@pytest.mark.parametrize("where", ["beside it", "in it"])
def test_a_run_in_a_read_only_place_is_reported_elsewhere_and_stays_as_it_is(
    where: str, own_run: Path, call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    RunFolder.open(own_run).remove("features.json")
    before = {file: file.read_bytes() for file in own_run.rglob("*.json")}

    def refuse(*_given: object) -> None:
        raise OSError(errno.EROFS if where == "in it" else errno.EACCES, "read-only")

    if where == "in it":
        monkeypatch.setattr(RunFolder, "write_bytes", refuse)
    else:
        monkeypatch.setattr("in4310repro.runs.folder.lock", refuse)
    code, _, error = call("report", str(own_run), "--out", "report")
    assert code == 0
    assert f"{own_run} is read-only, so its features.json stays as it is" in error
    assert {file: file.read_bytes() for file in own_run.rglob("*.json")} == before
    assert (tmp_path / "report/figure15.json").is_file()
