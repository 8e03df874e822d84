"""A stranger's run folder: faults are reported in a sentence, and nothing outside it is read or written."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from in4310repro.report import page
from in4310repro.runs.config import from_json
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.folder import RunFolder, array_bytes
from in4310repro.system import machine
from in4310repro.system.context import Context
from in4310repro.system.files import json_bytes
from in4310repro.system.numerics import Numerics
from in4310repro.verification.routine import verify
from tests.builders import inside_json, rechain
from tests.conftest import Call

Change = Callable[[Path], bytes]


@pytest.fixture
def call(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Call:
    """Return a function that runs a command in an empty folder beside the run."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return call


def put(place: str, value: Any) -> Change:
    """Return a function that reads a JSON file and returns its bytes with `value` at the path `place`."""

    def change(file: Path) -> bytes:
        content = json.loads(file.read_text())
        inner, key = inside_json(content, place)
        inner[key] = value
        return json.dumps(content).encode()

    return change


def drop(key: str) -> Change:
    return lambda file: json_bytes({k: v for k, v in json.loads(file.read_text()).items() if k != key})


def become(content: bytes) -> Change:
    return lambda _file: content


def rows(change: Callable[[list[str]], list[str]]) -> Change:
    """Return a function that changes the rows of a table, but not its heading."""

    def changed(file: Path) -> bytes:
        heading, *lines = file.read_text().splitlines()
        return "\n".join([heading, *change(lines), ""]).encode()

    return changed


def replace_in_first(old: str, new: str) -> Change:
    return rows(lambda lines: [lines[0].replace(old, new, 1), *lines[1:]])


def arrays(**changes: Callable[[Any], Any]) -> Change:
    """Return a function that changes the named arrays of the scores."""

    def change(file: Path) -> bytes:
        with np.load(file) as content:
            return array_bytes({name: changes.get(name, lambda array: array)(content[name]) for name in content})

    return change


def archive(shape: str, data: bytes, compression: int = zipfile.ZIP_STORED) -> bytes:
    """Return a score file whose array headers claim `shape`."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name in ("paths", "labels", "softmax"):
            file.writestr(f"{name}.npy", content)
    return buffer.getvalue()


# File, change, and what the sentence says beside the file.
DAMAGES: list[tuple[str, Change, tuple[str, ...]]] = [
    ("config.json", become(b"[]"), ("holds no configuration",)),
    ("config.json", become(b"[" * 100_000), ("nested too deep",)),
    ("config.json", put("preset", "../victim"), ("preset '../victim'", "names a folder")),
    ("config.json", put("preset", "C:x"), ("preset 'C:x'",)),
    ("config.json", put("preset", ""), ("preset is ''",)),
    ("config.json", put("settings/0/name", "../../victim"), ("setting '../../victim'",)),
    ("config.json", put("settings/0/name", "-"), ("setting '-'",)),
    ("config.json", put("settings/0/name", "SGD"), ("settings are named", "names must differ")),
    ("config.json", put("settings/0/learning_rate", 10**400), ("learning_rate",)),
    ("config.json", put("settings", [[[[[[]]]]]]), ("settings are tables",)),
    ("config.json", put("modules", [["conv1"]]), ("modules", "conv1")),
    ("config.json", put("modules", []), ("modules",)),
    ("config.json", put("protocol", [["shared-split"]]), ("protocol", "it must be a list of names")),
    ("config.json", put("data", "a\0b"), ("data is 'a\\x00b'",)),
    ("config.json", put("epochs", 3), ("adamw/history.json", "has 2 rows; epochs is 3")),
    ("config.json", put("scenes", 10**6), ("split.csv", "scenes 1000000")),
    ("config.json", put("split", "20/16/12"), ("split.csv", "needs (20, 16, 12)")),
    ("config.json", put("split", "1/2"), ("split.csv", "split '1/2' is not three positive numbers")),
    ("fingerprint.json", become(b"[]"), ("its value is []; it should be a valid dictionary",)),
    ("fingerprint.json", drop("device"), ("lacks device",)),
    ("fingerprint.json", put("numerics", "auto"), ("numerics is 'auto'",)),
    ("fingerprint.json", put("threads", 0), ("threads is 0",)),
    ("fingerprint.json", put("versions/torch", "\x1b[31m"), ("versions.torch", "printable")),
    ("metrics.json", drop("classes"), ("lacks classes",)),
    ("metrics.json", put("classes/0", "forest"), ("classes is", "by split.csv it is")),
    ("metrics.json", put("class_accuracy", [0.5]), ("class_accuracy has 1 values; split.csv has 6 classes",)),
    ("metrics.json", put("class_accuracy/0", 1.5), ("class_accuracy.0 is 1.5",)),
    ("metrics.json", put("loss", -1), ("loss is -1",)),
    ("metrics.json", put("loss", float("nan")), ("loss is nan; it should be a finite number",)),
    ("metrics.json", put("epoch", 99), ("epoch is 99; by history.json it is",)),
    ("metrics.json", put("setting", "../../victim"), ("setting is ../../victim; by history.json it is",)),
    ("metrics.json", put("supports/test/sea", 3), ("supports is",)),
    ("metrics.json", put("unseen", {}), ("lacks unseen.",)),
    ("metrics.json", put("colour", "red"), ("has colour, which does not belong there",)),
    ("sgd/history.json", become(b"[{}]"), ("lacks 0.",)),
    ("sgd/history.json", become(b"[]"), ("it has 0 rows; epochs is 2",)),
    ("sgd/history.json", put("1/epoch", 7), ("epoch of row 2 is 7",)),
    ("sgd/history.json", put("0/class_accuracy", []), ("epoch 1: class_accuracy has 0 values",)),
    ("sgd/history.json", put("0/val_loss", None), ("0.val_loss is None",)),
    ("sgd/tensors.json", become(b"[]"), ("it has 0 rows; epochs is 2",)),
    ("sgd/tensors.json", become(b"[{}, {}]"), ("lacks 0.epoch",)),
    ("sgd/tensors.json", put("0/epoch", 2), ("epoch of row 1 is 2",)),
    ("sgd/tensors.json", put("0/tensors", {}), ("row 1 has 0 tensors",)),
    ("sgd/tensors.json", put("1/tensors", {"x": "0" * 12}), ("row 2 has 1 tensors",)),
    ("sgd/tensors.json", put("0/tensors/conv1.weight", 0), ("0.tensors.conv1.weight is 0",)),
    ("sgd/tensors.json", put("0/tensors/conv1.weight", "0" * 12), ("epoch 2: the chain is broken", "entry of epoch 1")),
    ("sgd/tensors.json", put("0/optimizer_sha256", "0" * 64), ("epoch 2: the chain is broken",)),
    ("sgd/tensors.json", put("0/weights_sha256", "0" * 64), ("epoch 1: weights_sha256", "history.json has")),
    ("sgd/tensors.json", put("0/previous", "0" * 64), ("epoch 1: the chain is broken", "fingerprint.json")),
    ("config.json", put("batch_size", 9), ("adamw/tensors.json", "epoch 1: the chain is broken", "config.json")),
    ("config.json", put("settings/2/learning_rate", 9.0), ("sgd/tensors.json", "epoch 1: the chain is broken")),
    ("fingerprint.json", put("numeric_class", "x"), ("adamw/tensors.json", "epoch 1: the chain is broken")),
    ("fingerprint.json", drop("initial_weights_sha256"), ("adamw/tensors.json", "epoch 1: the chain is broken")),
    ("features.json", put("sets", []), ("sets is []",)),
    ("features.json", put("sets/1/modules", {}), ("sets.1.modules",)),
    ("features.json", put("sets/0/modules/conv1/eigenvalues", []), ("sets.0.modules.conv1.eigenvalues is []",)),
    ("features.json", put("sets/0/modules/conv1/non_positive", 2), ("sets.0.modules.conv1.non_positive is 2",)),
    ("manifest.json", become(b"[]"), ("its value is []",)),
    ("manifest.json", put("config.json", {"sha256": "0"}), ("config.json is {",)),
    ("manifest.json", become(b'{"../../victim": ""}'), ("'../../victim' is not valid",)),
    ("manifest.json", become(b'{"/a": ""}'), ("'/a' is not valid",)),
    ("split.csv", become(b""), ("is not a split",)),
    ("split.csv", replace_in_first("buildings/", "../buildings/"), ("row 2: path '../buildings/",)),
    ("split.csv", replace_in_first("buildings/", "/buildings/"), ("row 2: path '/buildings/",)),
    ("split.csv", replace_in_first("buildings/", "C:buildings/"), ("row 2: path 'C:buildings/",)),
    ("split.csv", replace_in_first(",buildings,", ",a/b,"), ("row 2: class 'a/b'",)),
    ("split.csv", replace_in_first(",buildings,", ",sea,"), ("class sea of buildings/0000.bmp is not the folder",)),
    ("split.csv", replace_in_first(",buildings,", ",buildings,x"), ("row 2: sha256 'x",)),
    ("split.csv", rows(lambda lines: [*lines, lines[0]]), ("path buildings/0000.bmp is in 2 rows",)),
    ("split.csv", rows(lambda lines: lines[1:]), ("split.csv",)),
    ("scores.npz", become(archive("(1000000000000,)", b"\0" * 8)), ("claims float32 of shape (1000000000000,)",)),
    ("scores.npz", become(archive("(-1, -2)", b"\0" * 8)), ("scores.npz",)),
    ("scores.npz", become(archive("(4000000,)", bytes(16_000_000), zipfile.ZIP_DEFLATED)), ("is compressed",)),
    ("scores.npz", become(b"PK\x03\x04"), ("is damaged",)),
    ("scores.npz", arrays(paths=lambda paths: paths.astype(object)), ("paths.npy claims object",)),
    ("scores.npz", arrays(paths=lambda paths: paths[::-1]), ("paths are not those of the test part",)),
    ("scores.npz", arrays(paths=lambda paths: np.array(["/etc/x.png", *paths[1:]])), ("paths are not those",)),
    ("scores.npz", arrays(labels=lambda labels: labels + 0.5), ("labels is float64",)),
    ("scores.npz", arrays(labels=lambda labels: labels + 90), ("labels are not those of the classes",)),
    ("scores.npz", arrays(labels=lambda labels: labels[1:]), ("'labels': 11",)),
    ("scores.npz", arrays(softmax=lambda softmax: softmax.astype(np.float64)), ("softmax is float64",)),
    ("scores.npz", arrays(softmax=lambda softmax: softmax[:, :5]), ("softmax is of shape (12, 5)",)),
    ("scores.npz", arrays(softmax=lambda softmax: softmax * np.float32("nan")), ("adds up to nan",)),
    ("scores.npz", arrays(softmax=np.log), ("shares that add up to 1",)),
]


@pytest.mark.parametrize(("name", "change", "words"), DAMAGES, ids=[f"{n}: {w[0]}" for n, _, w in DAMAGES])
def test_a_changed_file_is_refused_in_one_sentence_with_its_key(
    name: str, change: Change, words: tuple[str, ...], own_records: Path
) -> None:
    (own_records / name).write_bytes(change(own_records / name))
    with pytest.raises(ValueError, match=r"\.(json|csv|npz)") as raised:
        FinishedRun.open(own_records)
    sentence = str(raised.value)
    assert "\n" not in sentence
    for word in (name.split("/")[-1] if name not in ("config.json", "fingerprint.json") else "", *words):
        assert word in sentence


def seal(run: Path, name: str, content: bytes) -> None:
    """Write a forged file and update its manifest entry."""
    RunFolder.open(run).write_bytes(name, content)


COMMANDS = ("verify", "compare", "evaluate", "report")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("fingerprint.json", b"[]", "fingerprint.json: its value is []"),
        ("sgd/history.json", b"[{}]", "sgd/history.json lacks 0."),
        ("scores.npz", archive("(1000000000000,)", b""), "claims float32 of shape (1000000000000,)"),
    ],
)
def test_a_forged_file_is_a_difference_for_verify_and_wrong_input_for_the_others(
    name: str, content: bytes, words: str, command: str, own_records: Path, call: Call
) -> None:
    seal(own_records, name, content)
    run = str(own_records)
    arguments = {
        "compare": (run, run),
    }
    code, printed, error = call(command, *arguments.get(command, (run,)))
    assert code == (1 if command == "verify" else 2)
    assert words in (printed if command == "verify" else error)
    assert "Traceback" not in printed + error
    assert len(error.splitlines()) == (0 if command == "verify" else 1)


@pytest.mark.parametrize("command", ["verify", "evaluate", "report"])
def test_a_forged_size_is_refused_with_what_it_takes_before_anything_is_drawn(
    command: str, own_run: Path, call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("IN4310REPRO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(machine, "memory", lambda: 2**34)
    seal(own_run, "config.json", put("image_size", 2**14)(own_run / "config.json"))
    rechain(own_run)
    code, printed, error = call(command, str(own_run))
    assert code == (1 if command == "verify" else 2)
    assert "image_size 16384 takes at least 215 GB of memory, and this machine has 17.2 GB" in printed + error
    assert not (tmp_path / "cache").exists()


def test_a_preset_that_leads_out_writes_and_removes_nothing(own_records: Path, call: Call, tmp_path: Path) -> None:
    victim = tmp_path / "here/victim"
    victim.mkdir()
    for name in ("index.html", "figure01.png"):
        (victim / name).write_text("mine")
    (victim / "run.json").write_text('{"figures": ["figure01.png"]}')
    seal(own_records, "config.json", put("preset", "../victim")(own_records / "config.json"))
    code, _, error = call("report", str(own_records))
    assert code == 2
    assert "config.json: preset '../victim' names a folder" in error
    assert sorted(file.name for file in victim.iterdir()) == ["figure01.png", "index.html", "run.json"]
    assert (victim / "index.html").read_text() == "mine"


@pytest.mark.parametrize(
    "name", ["metrics.json", "scores.npz", "split.csv", "manifest.json", "sgd", "sgd/history.json"]
)
def test_a_link_that_leads_out_of_the_run_is_refused(name: str, own_records: Path, tmp_path: Path, call: Call) -> None:
    outside = tmp_path / "elsewhere"
    shutil.move(own_records / name, outside)
    (own_records / name).symlink_to(outside)
    with pytest.raises(ValueError, match=f"{name}.* is a link that leads out of"):
        FinishedRun.open(own_records)
    with pytest.raises(ValueError, match=f"{name}.* is a link that leads out of"):
        RunFolder.reopen(own_records)
    code, printed, _ = call("verify", str(own_records))
    assert code == 1
    assert "is a link that leads out of" in printed


def test_a_link_to_a_file_of_the_run_itself_is_followed(own_records: Path) -> None:
    (own_records / "metrics.json").rename(own_records / "measured.json")
    (own_records / "metrics.json").symlink_to("measured.json")
    assert FinishedRun.open(own_records).metrics["epoch"] in (1, 2)


def test_nothing_is_written_through_a_link_that_leads_out(own_records: Path, tmp_path: Path) -> None:
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    (own_records / "nadam").symlink_to(outside)
    with pytest.raises(ValueError, match="is a link that leads out of"):
        RunFolder.open(own_records).write_json("nadam/history.json", [])
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda entries: {k: v for k, v in entries.items() if k not in ("features.json", "sgd/tensors.json")},
            ("no manifest entry for features", "no manifest entry for sgd/te"),
        ),
        (
            lambda entries: entries | {"notes.txt": "0" * 64, "extra.json": entries["config.json"]},
            ("notes.txt is missing or has other bytes", "lists extra.json, which is not a file of"),
        ),
        (lambda _entries: {}, ("no manifest entry for adamw/best.safetensors",)),
    ],
)
def test_a_manifest_that_omits_files_or_has_others_is_a_difference(
    change: Callable[[dict[str, str]], dict[str, str]], words: Sequence[str], own_run: Path, numerics: Numerics
) -> None:
    shutil.copy(own_run / "config.json", own_run / "extra.json")
    entries = change(RunFolder.open(own_run).manifest())
    (own_run / "manifest.json").write_bytes(json_bytes(entries))
    differences = verify(own_run, context=Context(numerics)).differences
    for part in words:
        assert any(part in difference for difference in differences)


@pytest.mark.parametrize("name", ["config.json", "metrics.json", "features.json", "rmsprop/tensors.json"])
def test_a_file_that_is_gone_is_a_difference(name: str, own_records: Path, call: Call) -> None:
    (own_records / name).unlink()
    code, printed, _ = call("verify", str(own_records))
    assert code == 1
    assert f"{name} is missing or has other bytes" in printed


def test_a_folder_with_another_programs_manifest_is_no_run(tmp_path: Path, call: Call) -> None:
    (tmp_path / "manifest.json").write_text('{"name": "My page", "icons": []}')
    code, _, error = call("verify", str(tmp_path))
    assert code == 2
    assert "is not a run folder" in error


def test_images_that_are_not_there_are_wrong_input(finished_run: Path, call: Call, tmp_path: Path) -> None:
    code, _, error = call("verify", str(finished_run), "--data", str(tmp_path))
    assert code == 2
    assert "--data names the folder that holds it" in error


def test_figure_7_shows_no_image_whose_bytes_are_not_those_of_the_split(
    finished_run: Path, tmp_path: Path, copied_scenes: Callable[[Path], Path]
) -> None:
    run = FinishedRun.open(finished_run)
    root = copied_scenes(tmp_path / "scenes")
    first, second = run.scores.paths[:2]
    shutil.copy(root / second, root / first)
    with pytest.raises(ValueError, match=f"{first} was changed"):
        page.write(run, tmp_path / "report", str(root))
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    "record",
    [b"[]", b"{", b'{"figures": 3}', b'{"figures": [3, null, ["figure01.png"]]}', b'{"figures": {"figure01.png": 1}}'],
)
def test_a_record_that_is_none_of_a_report_removes_nothing(record: bytes, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(record)
    (tmp_path / "figure01.png").write_bytes(b"mine")
    page.remove_earlier_figures(tmp_path, set())
    assert (tmp_path / "figure01.png").read_bytes() == b"mine"


def test_a_listed_figure_that_is_a_link_or_a_folder_stays(tmp_path: Path) -> None:
    folder = tmp_path / "report"
    (folder / "figure02.png").mkdir(parents=True)
    (tmp_path / "figure01.png").write_bytes(b"mine")
    (folder / "figure01.png").symlink_to("../figure01.png")
    (folder / "run.json").write_bytes(json_bytes({"figures": ["../figure01.png", "figure01.png", "figure02.png"]}))
    page.remove_earlier_figures(folder, set())
    assert (folder / "figure01.png").is_symlink()
    assert (folder / "figure02.png").is_dir()
    assert (tmp_path / "figure01.png").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("config.json", b"[]", "config.json holds no configuration"),
        ("fingerprint.json", b"[]", "fingerprint.json: its value is []"),
        ("manifest.json", b"[]", "manifest.json: its value is []"),
        ("adamw/history.json", b"[3]", "adamw/history.json: 0 is 3"),
    ],
)
def test_a_run_with_forged_files_is_not_continued(
    name: str, content: bytes, words: str, own_records: Path, call: Call
) -> None:
    if name == "manifest.json":
        (own_records / name).write_bytes(content)
    else:
        entries = {k: v for k, v in RunFolder.open(own_records).manifest().items() if not k.endswith(".safetensors")}
        (own_records / "manifest.json").write_bytes(json_bytes(entries))
        seal(own_records, name, content)
    code, _, error = call("train", "--preset", "tiny", "--out", str(own_records), "--resume")
    assert code == 2
    assert words in error


def test_data_may_lie_anywhere(own_records: Path) -> None:
    config = json.loads((own_records / "config.json").read_text())
    for key in ("data", "imagenet", "cifar10", "weights"):
        for value in ("/somewhere/else", "../up", "C:\\data", "\\\\host\\share"):
            assert getattr(from_json(config | {key: value}, "config.json"), key) == value
