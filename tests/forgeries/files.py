"""Forgeries of the folder itself: manifest lines, damage, links, and foreign files."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from in4310repro.runs import names
from tests.forgeries.changes import METRICS
from tests.forgeries.forger import LAST, SELECTED, Forger
from tests.forgeries.numbers import perfect
from tests.forgeries.row import Forge, forgeries_of

MANIFEST, CONFIG = "manifest.json", "config.json"


def without_its_line(name: str, change: Callable[[Forger], object]) -> Forge:
    """Return a forgery that changes the file `name` and omits it from the manifest."""

    def forge(forger: Forger) -> None:
        change(forger)
        forger.seal(name)

    return forge


def first_share(forger: Forger) -> None:
    forger.put("features.json", "sets/0/modules/conv1/non_positive", 0.9)


def first_hash(forger: Forger) -> None:
    name = f"{SELECTED}/tensors.json"
    data = bytearray(forger.read(name))
    place = data.index(b'": "') + 4
    data[place] = ord("0") if data[place] != ord("0") else ord("1")
    forger.write(name, bytes(data))


def last_setting(forger: Forger) -> None:
    forger.put(f"{LAST}/history.json", "0/val_loss", 0.01)


def manifest(change: Callable[[bytes], bytes]) -> Forge:
    return lambda forger: forger.write(MANIFEST, change(forger.read(MANIFEST)))


def flipped(word: bytes, bit: int, after: int = 0) -> Forge:
    """Return a forgery that flips one bit of the manifest, `after` bytes after the start of `word`."""
    return lambda forger: forger.flip(MANIFEST, forger.read(MANIFEST).index(word) + after, bit)


def another_order(forger: Forger) -> None:
    forger.write_json(MANIFEST, dict(reversed(forger.json(MANIFEST).items())))


def upper_case(forger: Forger) -> None:
    forger.write_json(MANIFEST, {name: sha256.upper() for name, sha256 in forger.json(MANIFEST).items()})


def twice(forger: Forger) -> None:
    """Write two manifest lines for one file; the first has the hash of the original content."""
    line = next(line for line in forger.read(MANIFEST).decode().splitlines() if METRICS in line)
    metrics = forger.json(METRICS)
    perfect(metrics)
    forger.write_json(METRICS, metrics)
    forger.seal()
    forger.replace(MANIFEST, f' "{METRICS}"', f'{line}\n "{METRICS}"')


def foreign_line(forger: Forger) -> None:
    forger.write("review.txt", b"accepted")
    forger.seal()


def outside_line(forger: Forger) -> None:
    (forger.run.parent / "secret").write_bytes(b"")
    forger.write_json(MANIFEST, forger.json(MANIFEST) | {"../secret": "0" * 64})


def gone(*names: str, line: bool = False) -> Forge:
    """Delete files and, if `line`, also their manifest lines."""

    def forge(forger: Forger) -> None:
        for name in names:
            (forger.run / name).unlink()
        if line:
            forger.seal()

    return forge


def linked(name: str) -> Forge:
    """Replace a file of the run by a link to an identical file outside it."""

    def forge(forger: Forger) -> None:
        outside = forger.work / "elsewhere"
        shutil.copyfile(forger.run / name, outside)
        (forger.run / name).unlink()
        (forger.run / name).symlink_to(outside)

    return forge


def linked_setting(forger: Forger) -> None:
    """Replace the folder of one setting (one optimizer's training) by a link to that of another setting."""
    shutil.rmtree(forger.run / LAST)
    (forger.run / LAST).symlink_to(SELECTED)
    forger.seal()


def last_weights(forger: Forger) -> None:
    """Add last.safetensors, which the run's protocol does not write, and list it in the manifest."""
    forger.write(f"{LAST}/last.safetensors", forger.read(f"{LAST}/best.safetensors"))
    forger.seal()


row = forgeries_of("lines of the manifest")
ROWS = [
    row(
        "line of tensors.json removed, the file changed",
        without_its_line(f"{SELECTED}/tensors.json", first_hash),
        "tensors.json",
    ),
    row(
        "line of features.json removed, the file changed",
        without_its_line("features.json", first_share),
        "features.json",
    ),
    row(
        "line of a history removed, the file changed",
        without_its_line(f"{LAST}/history.json", last_setting),
        "history.json",
    ),
    row(
        "line of the metrics removed, the file changed",
        without_its_line(METRICS, lambda forger: forger.put(METRICS, "mean_class_accuracy", 0.99)),
        METRICS,
    ),
    row("line of a file of others", foreign_line, "review.txt"),
    row("line and file of another protocol", last_weights, "last.safetensors"),
    row(
        "features.json removed, with its line",
        gone("features.json", line=True),
        by="nothing",
        shown_by="no need: nothing is claimed of feature maps then, and `report` measures them",
    ),
]

row = forgeries_of("bytes of the manifest", sealed=False)
ROWS += [
    row("line of a file outside", outside_line, "secret"),
    row("two lines of one file", twice, MANIFEST, sealed=True),
    row("a bit of a hash", flipped(b'": "', 0, after=4), "best.safetensors"),
    row("a bit of a name", flipped(b"metrics.json", 1), "etrics.json"),
    row("a bit of a name's capital", flipped(b"metrics.json", 5), "etrics.json"),
    row("a bit of a space", flipped(b' "', 3), MANIFEST),
    row("a bit of a brace", flipped(b"{", 0), MANIFEST),
    row("a newline added at the end", manifest(lambda data: data + b"\n"), MANIFEST, sealed=True),
    row("the last newline removed", manifest(lambda data: data[:-1]), MANIFEST, sealed=True),
    row("lines in another order", another_order, MANIFEST, sealed=True),
    row("hashes in capitals", upper_case, MANIFEST),
    row("a byte order mark", manifest(lambda data: b"\xef\xbb\xbf" + data), MANIFEST),
    row("an empty manifest", manifest(lambda _data: b"{}\n"), "no manifest entry"),
    row("no manifest", gone(MANIFEST), MANIFEST),
]


def added(forger: Forger) -> None:
    """Add files of types that `verify` does not compare; no training wrote these files."""
    for name in (
        f"logs/{SELECTED}/steps.csv",
        "logs/best/steps.csv",
        f"{SELECTED}/{names.CHECKPOINTS}/000001-00000002-{16 * '0'}.safetensors",
        "sgd/epochs/000001.safetensors",
        "nadam/epochs/000001.safetensors",
        "status.json",
        "ten-crops.json",
        ".reviewed",
    ):
        forger.write(name, b"mean class accuracy 0.99")
    (forger.run / "empty").mkdir()
    (forger.run / "link").symlink_to(forger.work)


row = forgeries_of("files", sealed=False)
ROWS += [
    row("config.json deleted", gone(CONFIG), CONFIG),
    row("config.json deleted, with its line", gone(CONFIG, line=True), CONFIG, sealed=True),
    row("config.json and manifest.json deleted", gone(CONFIG, MANIFEST), MANIFEST),
    row(
        "weights of a setting deleted, with their line",
        gone(f"{LAST}/best.safetensors", line=True),
        "best.safetensors",
        sealed=True,
    ),
    row(
        "fingerprint.json deleted, with its line", gone("fingerprint.json", line=True), "fingerprint.json", sealed=True
    ),
    row("scores.npz deleted, with its line", gone("scores.npz", line=True), "scores.npz", sealed=True),
    row("split.csv deleted, with its line", gone("split.csv", line=True), "split.csv", sealed=True),
    row("the metrics are a link to a file outside", linked(METRICS), METRICS, sealed=True),
    row("the configuration is a link to a file outside", linked(CONFIG), CONFIG, sealed=True),
    row("a setting's folder is a link to another's", linked_setting, LAST, sealed=True),
    row("a number of the metrics, the manifest as it was", lambda forger: forger.put(METRICS, "loss", 0.01), METRICS),
    row(
        "logs, checkpoints, epochs, a status and others that no training wrote",
        added,
        "not checked",
        *("logs/ (1 file)", f"{SELECTED}/checkpoint/ (1 file)", "sgd/epochs/ (1 file)", "status.json"),
        *("unknown", ".reviewed", "empty/", "link (link)", "logs/best/", "nadam/epochs/", "ten-crops.json"),
        by="nothing",
        shown_by="no need: no number rests on them, and `verify` lists them as not checked",
        sealed=True,
    ),
]
