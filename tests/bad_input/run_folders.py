"""Rows of bad input: run folders that a stranger made or changed."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from in4310repro.evaluation.feature_maps import of_run
from in4310repro.report import figures
from tests.bad_input.row import rows_of
from tests.bad_input.sandbox import Sandbox, seal
from tests.builders import inside_json, relink
from tests.special_files import named_pipe

row = rows_of("run folders")

RUN, OTHER = "runs/tiny", "runs/other"
VERIFY, EVALUATE, COMPARE = f"verify {RUN}", f"evaluate {RUN}", f"compare {OTHER} {RUN}"
REPORT = "report runs/tiny --no-photographs"
Make = Callable[[Sandbox], object]


def two_runs(box: Sandbox) -> None:
    box.run(RUN)
    box.run(OTHER)


def changed(name: str, change: Callable[[Any], Any], *, sealed: bool = True) -> Make:
    """Make two equal runs; change a JSON file of one and, if `sealed`, update its manifest entry."""

    def make(box: Sandbox) -> None:
        two_runs(box)
        box.edit_json(f"{RUN}/{name}", change)
        if sealed:
            seal(box.work / RUN, name)

    return make


def put(key: str, value: object) -> Callable[[Any], None]:
    """Return a function that sets the value at the path `key` in a JSON value (see `inside_json`)."""

    def change(content: Any) -> None:
        inner, last = inside_json(content, key)
        inner[last] = value

    return change


def drop(key: str) -> Callable[[Any], None]:
    def change(content: Any) -> None:
        inner, last = inside_json(content, key)
        del inner[last]

    return change


def become(value: object) -> Callable[[Any], Any]:
    return lambda _content: value


def raw(name: str, content: bytes, *, sealed: bool = True) -> Make:
    def make(box: Sandbox) -> None:
        two_runs(box)
        box.write(f"{RUN}/{name}", content)
        if sealed:
            seal(box.work / RUN, name)

    return make


def gone(name: str) -> Make:
    def make(box: Sandbox) -> None:
        two_runs(box)
        (box.work / RUN / name).unlink()

    return make


def arrays(change: Callable[[dict[str, Any]], object]) -> Make:
    """Return a function that makes two runs, applies `change` to the score arrays of one, and updates its manifest."""

    def make(box: Sandbox) -> None:
        folder = box.run(RUN)
        box.run(OTHER)
        with np.load(folder / "scores.npz") as file:
            content = dict(file)
        change(content)
        buffer = io.BytesIO()
        np.savez(buffer, **content)
        box.write(f"{RUN}/scores.npz", buffer.getvalue())
        seal(box.work / RUN, "scores.npz")

    return make


def huge(values: int, content: bytes, compression: int) -> Make:
    """Return a function that makes two runs; score arrays of one have headers that claim `values` numbers."""

    def make(box: Sandbox) -> None:
        two_runs(box)
        buffer, header = io.BytesIO(), io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (values,)})
        with zipfile.ZipFile(buffer, "w", compression) as file:
            for name in ("paths", "labels", "softmax"):
                file.writestr(f"{name}.npy", header.getvalue() + content)
        box.write(f"{RUN}/scores.npz", buffer.getvalue())
        seal(box.work / RUN, "scores.npz")

    return make


def objects(content: dict[str, Any]) -> None:
    content["paths"] = content["paths"].astype(object)


def entry(name: str, value: object) -> Make:
    return changed("manifest.json", put_name(name, value), sealed=False)


def put_name(name: str, value: object) -> Callable[[Any], None]:
    def change(content: Any) -> None:
        content[name] = value

    return change


def split_line(old: str, new: str) -> Make:
    def make(box: Sandbox) -> None:
        two_runs(box)
        box.replace(f"{RUN}/split.csv", old, new)
        seal(box.work / RUN, "split.csv")

    return make


def stranger(preset: str) -> Make:
    """Make two runs, one of them with the preset name `preset`."""
    return changed("config.json", put("preset", preset))


def linked(name: str, target: str) -> Make:
    """Return a function that makes two runs, and replaces a file or folder of one by a link to `target` outside it."""

    def make(box: Sandbox) -> None:
        two_runs(box)
        path = box.work / RUN / name
        outside = box.root / target
        if path.is_dir():
            shutil.move(path, outside)
        else:
            shutil.copy2(path, outside)
            path.unlink()
        path.symlink_to(outside)

    return make


def fifo(name: str) -> Make:
    def make(box: Sandbox) -> None:
        two_runs(box)
        (box.work / RUN / name).unlink()
        named_pipe(box.work / RUN / name)

    return make


def flipped(name: str, place: float, *, whole: bool = False) -> Make:
    """Return a function that makes two runs, and flips one bit at the fraction `place` of a file's length."""

    def make(box: Sandbox) -> None:
        folder = box.whole_run(RUN) if whole else box.run(RUN)
        box.run(OTHER)
        data = bytearray((folder / name).read_bytes())
        data[int(place * len(data))] ^= 1
        box.write(f"{RUN}/{name}", bytes(data))

    return make


def unfinished(box: Sandbox) -> None:
    folder = box.run(RUN)
    (folder / "metrics.json").unlink()
    seal(folder, "config.json")


def photograph(box: Sandbox) -> None:
    """Make two runs; the scores of one name an existing image that is not in its split."""

    def change(content: dict[str, Any]) -> None:
        paths = content["paths"].astype("U200")
        paths[:] = [str(box.root / "victim/secret.png"), *paths[1:]]
        content["paths"] = paths

    arrays(change)(box)


def no_secret(box: Sandbox) -> None:
    pages = list((box.work / "reports").rglob("*"))
    assert not any(b"secret" in page.read_bytes() for page in pages if page.is_file())


def forged_record(names: list[object]) -> Make:
    """Return a function that makes a report folder: its record claims the files `names`, and a user's file is in it."""

    def make(box: Sandbox) -> None:
        box.run(RUN)
        box.patch(of_run, "write_features", lambda run, *_how, **_named: run)
        box.patch(figures, "to_png", lambda *_drawing: b"")
        box.write("reports/tiny/run.json", json.dumps({"figures": names}))
        box.write("reports/tiny/thesis.txt", "years of work")

    return make


DEEP = b"[" * 100_000 + b"]" * 100_000
NOTHING_OUT = "every file, and those outside of the run above all"

# What is wrong, how it is made, and what names it: each is a difference for `verify`, wrong input for the others.
DAMAGES: list[tuple[str, Make, tuple[str, ...]]] = [
    ("the fingerprint is a list", changed("fingerprint.json", become([])), ("fingerprint.json",)),
    ("the fingerprint has no device", changed("fingerprint.json", drop("device")), ("fingerprint.json", "device")),
    ("the fingerprint's arithmetic is a number", changed("fingerprint.json", put("numerics", 3)),
     ("fingerprint.json", "numerics")),
    ("the metrics have no classes", changed("metrics.json", drop("classes")), ("metrics.json", "classes")),
    ("the metrics are a list", changed("metrics.json", become([])), ("metrics.json",)),
    ("the classes are numbers", changed("metrics.json", put("classes", [1, 2, 3, 4, 5, 6])),
     ("metrics.json", "classes")),
    ("the classes are fewer than the accuracies", changed("metrics.json", put("classes", ["a", "b"])),
     ("metrics.json",)),
    ("an accuracy is above 1", changed("metrics.json", put("class_accuracy/0", 1.5)),
     ("metrics.json", "class_accuracy")),
    ("an accuracy is a text", changed("metrics.json", put("mean_class_accuracy", "high")),
     ("metrics.json", "mean_class_accuracy")),
    ("the loss is not a number", raw("metrics.json", b'{"setting": "chosen", "loss": NaN}'), ("metrics.json",)),
    ("the loss is true", changed("metrics.json", put("loss", True)), ("metrics.json", "loss")),
    ("the selected setting is unknown", changed("metrics.json", put("setting", "nadam")), ("metrics.json", "setting")),
    ("the selected setting leads out", changed("metrics.json", put("setting", "../../victim")),
     ("metrics.json", "setting")),
    ("the selected epoch is beyond the last", changed("metrics.json", put("epoch", 99)), ("metrics.json", "epoch")),
    ("a support is negative", changed("metrics.json", put("supports/test/sea", -1)), ("metrics.json", "supports")),
    ("the supports are a list", changed("metrics.json", put("supports", [])), ("metrics.json", "supports")),
    ("a history is a list of nothing", changed("chosen/history.json", become([{}])), ("chosen/history.json",)),
    ("a history is empty", changed("chosen/history.json", become([])), ("chosen/history.json",)),
    ("a history lacks an epoch", changed("chosen/history.json", lambda rows: rows[:1]), ("chosen/history.json",)),
    ("an epoch is counted wrongly", changed("chosen/history.json", put("0/epoch", 7)),
     ("chosen/history.json", "epoch")),
    ("a training loss is an object", changed("chosen/history.json", put("1/train_loss", {})),
     ("chosen/history.json", "train_loss")),
    ("a history has five classes", changed("chosen/history.json", drop("0/class_accuracy/5")),
     ("chosen/history.json", "class_accuracy")),
    ("tensor hashes are emptied", changed("chosen/tensors.json", become([])), ("chosen/tensors.json",)),
    ("tensor hashes are numbers", changed("chosen/tensors.json", put("0", {"conv1.weight": 1})),
     ("chosen/tensors.json",)),
    ("a JSON file is nested 100,000 deep", raw("metrics.json", DEEP), ("metrics.json",)),
    ("a JSON file has a number of 5,000 digits", raw("metrics.json", b'{"epoch": ' + b"9" * 5000 + b"}"),
     ("metrics.json",)),
    ("a JSON file is empty", raw("metrics.json", b""), ("metrics.json",)),
    ("a JSON file is not UTF-8", raw("fingerprint.json", b'"\xff\xfe"'), ("fingerprint.json",)),
    ("the scores claim 10^12 values", huge(10**12, b"", zipfile.ZIP_STORED), ("scores.npz",)),
    ("the scores unpack to much more than they are", huge(10**7, bytes(4 * 10**7), zipfile.ZIP_DEFLATED),
     ("scores.npz",)),
    ("the scores are not an archive", raw("scores.npz", b"PK\x03\x04 nothing"), ("scores.npz",)),
    ("the scores lack the labels", arrays(lambda content: content.pop("labels")), ("scores.npz", "labels")),
    ("the scores are of five classes", arrays(lambda c: c.update(softmax=c["softmax"][:, :5])), ("scores.npz",)),
    ("the scores have one image less", arrays(lambda c: c.update(softmax=c["softmax"][:-1])), ("scores.npz",)),
    ("the labels are floats", arrays(lambda c: c.update(labels=c["labels"] + 0.5)), ("scores.npz", "labels")),
    ("a label is of no class", arrays(lambda c: c.update(labels=c["labels"] + 90)), ("scores.npz", "labels")),
    ("a score is not a number", arrays(lambda c: c["softmax"].__setitem__((0, 0), np.nan)), ("scores.npz", "softmax")),
    ("the paths are Python objects", arrays(objects), ("scores.npz",)),
    ("the split names an absolute path", split_line("buildings/0000.bmp", "/etc/passwd"), ("split.csv",)),
    ("the split names a path that leads out", split_line("buildings/0000.bmp", "../../victim/secret.png"),
     ("split.csv",)),
    ("the split has an unknown part", split_line(",test", ",tests"), ("split.csv",)),
    ("the configuration has an unknown key", changed("config.json", put("colour", "red")), ("config.json", "colour")),
    ("the configuration has no settings", changed("config.json", put("settings", [])), ("config.json", "settings")),
    ("a setting of the configuration leads out", changed("config.json", put("settings/0/name", "../../victim")),
     ("config.json", "victim")),
    ("the preset leads out", stranger("../victim"), ("config.json", "preset")),
    ("the preset is absolute", stranger("/elsewhere/x"), ("config.json", "preset")),
    ("the preset is a drive", stranger("C:x"), ("config.json", "preset")),
    ("the preset is the folder itself", stranger("."), ("config.json", "preset")),
    ("the preset has an escape sequence", stranger("a\x1b[2Jb"), ("config.json", "preset")),
    ("the manifest is nested", entry("config.json", {"sha256": ["0" * 64]}), ("manifest.json",)),
    ("the manifest names a file outside", entry("../../../victim/secret.png", "0" * 64), ("manifest.json",)),
    ("the manifest names an absolute path", entry("/etc/passwd", "0" * 64), ("manifest.json",)),
    ("the manifest is a list", changed("manifest.json", become([]), sealed=False), ("manifest.json",)),
    ("a file of the run is a link that leads out", linked("metrics.json", "victim/m.json"), ("metrics.json", "link")),
    ("a folder of the run is a link that leads out", linked("chosen", "victim/chosen"), ("chosen", "link")),
    ("a file of the run is a FIFO", fifo("metrics.json"), ("metrics.json",)),
    ("the scores are a FIFO", fifo("scores.npz"), ("scores.npz",)),
    ("the history of a setting is missing", gone("chosen/history.json"), ("chosen/history.json",)),
    ("the scores are missing", gone("scores.npz"), ("scores.npz",)),
    ("the configuration is a list", changed("config.json", lambda _: [1]), ("config.json",)),
]  # fmt: skip


def zeroed(entries: list[Any]) -> list[Any]:
    """Replace the tensor hashes in a hash chain by zeros."""
    return relink([entry | {"tensors": dict.fromkeys(entry["tensors"], "0" * 12)} for entry in entries])


# Each damage is tried with two commands: verify, and the others in turn.
OTHERS = (EVALUATE, COMPARE, REPORT)

ROWS = [
    *(row(name, VERIFY, 1, "difference: ", *words, make=make, intact=NOTHING_OUT) for name, make, words in DAMAGES),
    *(
        row(f"{name}, in `{(command := OTHERS[number % len(OTHERS)]).split()[0]}`", command, 2, *words, make=make,
            intact=NOTHING_OUT)
        for number, (name, make, words) in enumerate(DAMAGES)
    ),
    row("the run is not finished", VERIFY, 2, "no finished run", make=unfinished),
    row("an unfinished run is evaluated", EVALUATE, 2, "no finished run", make=unfinished),
    row("one bit of the weights is another", VERIFY, 1, "best.safetensors",
        make=flipped("chosen/best.safetensors", 0.5)),
    row("one bit of weights that were not selected is another", VERIFY, 1, "sgd/best.safetensors",
        make=flipped("sgd/best.safetensors", 0.7, whole=True)),
    row("one bit of the scores is another", VERIFY, 1, "scores.npz", make=flipped("scores.npz", 0.6)),
    row("one bit of a history is another", VERIFY, 1, "history.json", make=flipped("chosen/history.json", 0.9)),
    row("one bit of the split is another", VERIFY, 1, "split.csv", make=flipped("split.csv", 0.5)),
    row("one bit of the feature maps is another", VERIFY, 1, "features.json", make=flipped("features.json", 0.5)),
    row("one bit of the configuration is another", VERIFY, 1, "config.json", make=flipped("config.json", 0.2)),
    row("weights were cut in the middle", EVALUATE, 2, "chosen/best.safetensors",
        make=raw("chosen/best.safetensors", bytes(1000))),
    row("weights of the compared run differ though its hashes do not", COMPARE, 1, "best weights",
        make=flipped("chosen/best.safetensors", 0.7)),
    row("tensor hashes of the compared run are zeroed", COMPARE, 1, "tensors.json",
        make=changed("chosen/tensors.json", zeroed)),
    row("a history of the compared run is changed", COMPARE, 1, "chosen",
        make=changed("chosen/history.json", put("1/train_loss", 0.25))),
    row("a picture of the machine stands in the scores", "report runs/tiny", 2, "scores.npz", make=photograph,
        intact="every file: no page shows the picture", afterwards=no_secret),
    row("an earlier report lists a file of the user", REPORT, 0, "wrote", make=forged_record(["thesis.txt"]),
        written=("work/reports/tiny/*", "work/runs/tiny/*.json"), intact="the file of the user",
        afterwards=lambda box: thesis(box)),
    row("an earlier report lists numbers", REPORT, 0, "wrote", make=forged_record([1, None, {}]),
        written=("work/reports/tiny/*", "work/runs/tiny/*.json"), intact="the file of the user",
        afterwards=lambda box: thesis(box)),
]  # fmt: skip


def thesis(box: Sandbox) -> None:
    assert (box.work / "reports/tiny/thesis.txt").read_text() == "years of work"
