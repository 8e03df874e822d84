"""check.html in Chromium and Firefox, from the disk: an honest run, falsified ones, hostile files, and who reads it."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
import re
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn import metrics as sklearn_metrics

from in4310repro.data.images import load_images
from in4310repro.data.preprocessing import to_metadata
from in4310repro.evaluation.feature_maps import of_run
from in4310repro.evaluation.prediction import predict
from in4310repro.report import check_page
from in4310repro.runs import deviations
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.presets import PRESETS, configure
from in4310repro.system.context import Context
from in4310repro.system.numerics import Numerics, activate
from in4310repro.system.tensors import tensor_bytes
from in4310repro.training import experiment
from tests import narrow
from tests.forgeries.changes import edit, put, sealed, swap
from tests.forgeries.forger import Forger
from tests.forgeries.leaves import altered_runs
from tests.forgeries.measured import comment, lift, scaled
from tests.forgeries.numbers import minus_zero, twice

pytest.importorskip("playwright.sync_api", reason="playwright is not installed; pip install -e '.[dev]'")
pytest.importorskip("websockets", reason="websockets is not installed; pip install -e '.[dev]'")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
rfc8785 = pytest.importorskip("rfc8785", reason="rfc8785 is not installed; pip install -e '.[dev]'")

from tests.report.browsers import ChromiumTab, Tab, check, chromium, firefox  # noqa: E402

CHROMIUM = shutil.which("chromium")
FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
BROWSERS = [
    pytest.param(
        "chromium", marks=pytest.mark.skipif(CHROMIUM is None, reason="no chromium; apt-get install chromium")
    ),
    pytest.param(
        "firefox", marks=pytest.mark.skipif(FIREFOX is None, reason="no Firefox; apt-get install firefox-esr")
    ),
]
# The narrow network has each sentence but one: that the bits of ResNet-18 itself are equal.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("finished_run")]
SELECTED, BEST, HISTORY = "rmsprop", "rmsprop/best.safetensors", "rmsprop/history.json"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("there is no chromium; apt-get install chromium")
    with chromium(CHROMIUM) as started:
        yield started


@pytest.fixture(scope="module")
def fox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    assert FIREFOX is not None
    with firefox(FIREFOX, tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture
def tab(request: pytest.FixtureRequest) -> Iterator[Tab]:
    if getattr(request, "param", "chromium") == "firefox":
        yield request.getfixturevalue("fox")
        return
    opened = request.getfixturevalue("browser").new_page()
    yield ChromiumTab(opened)
    opened.close()


def write_all(run: FinishedRun, folder: Path) -> None:
    """Write the page and both files that it reads, as `report --pixels` does."""
    check_page.write_images(run, folder)
    check_page.write_pixels(run, folder)
    (folder / check_page.PAGE).write_text(check_page.html(), encoding="utf-8")


def linked(run: Path, work: Path, numerics: Numerics) -> Forger:
    """Return a copy of a run, by hard links, whose files a test may replace."""
    shutil.copytree(run, work / "runs/tiny", copy_function=os.link)
    return Forger(work, lambda name: Path(name), numerics)


def with_page(run: Path, work: Path, numerics: Numerics) -> Path:
    """Return a folder with a run in `runs/tiny`, and the page beside its files in `report`."""
    write_all(FinishedRun.open(linked(run, work, numerics).run), work / "report")
    return work


def make_example(work: Path, numerics: Numerics) -> Path:
    """Return a folder with an honest run of the narrow network, of format 6, and the page."""
    with narrow.used(narrow=True):
        # Of this seed, the setting whose files are falsified is selected, and another metric would select another.
        trained(work, numerics, seed=2, settings=PRESETS["tiny"].settings, epochs=2)
        run = FinishedRun.open(work / "runs/tiny")
        of_run.write_features(run, run.config, Context(numerics))
    assert run.metrics["setting"] == SELECTED
    return work


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory, numerics: Numerics) -> Path:
    return make_example(tmp_path_factory.mktemp("example"), numerics)


@pytest.fixture
def forger(example: Path, tmp_path: Path, numerics: Numerics) -> Forger:
    made = linked(example / "runs/tiny", tmp_path, numerics)
    shutil.copytree(example / "report", tmp_path / "report")
    return made


def given(run: Path, tab: Tab) -> Path:
    """Return what a browser is given: the folder, or for Firefox, to which tests can give only files, its archive."""
    if isinstance(tab, ChromiumTab):
        return run
    archive = run.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w") as stored:
        for file in sorted(run.rglob("*")):
            stored.write(file, f"{run.name}/{file.relative_to(run)}")
    return archive


def check_all(tab: Tab, work: Path) -> str:
    return check(
        tab, work / "report" / check_page.PAGE, given(work / "runs/tiny", tab), work / "report" / check_page.IMAGES
    )


class Row(NamedTuple):
    """A comparison as the page shows it."""

    file: str
    what: str
    recorded: str
    computed: str
    result: str


def rows(tab: Tab, result: str) -> list[Row]:
    """Return the comparisons with a result: equal, close, different or unchecked."""
    cells = tab.texts(f"tr.{result} > *")
    return [Row(*cells[start : start + 5]) for start in range(0, len(cells), 5)]


def has_loss(tab: Tab) -> bool:
    """Return whether the mean loss of all test images is equal, for which all were predicted."""
    return any((row.file, row.what) == ("metrics.json", "loss") for row in rows(tab, "equal"))


@pytest.mark.parametrize("tab", BROWSERS, indirect=True)
def test_every_value_of_an_honest_run_is_equal_to_the_bit(
    tab: Tab, resnet18_run: Path, tmp_path: Path, numerics: Numerics
) -> None:
    verdict = check_all(tab, with_page(resnet18_run, tmp_path, numerics))
    assert verdict.startswith("Nothing differs in ")
    assert rows(tab, "different") == rows(tab, "close") == []
    assert tab.problems == []
    equal = rows(tab, "equal")
    # Each of 14 files, 12 images, their pixels and their scores, 16 metrics, 6 links of chains and the loss.
    manifest = json.loads((resnet18_run / "manifest.json").read_text(encoding="utf-8"))
    assert {row.file: row.computed for row in equal if row.what == "sha256"} == manifest
    assert len([row for row in equal if row.what == "sha256, from split.csv" and row.file.endswith(".bmp")]) == 12
    assert len([row for row in equal if row.what.startswith("sha256 of the decoded pixels of ")]) == 13
    assert len([row for row in equal if row.file == "scores.npz" and row.what.endswith(".bmp")]) == 12
    assert len([row for row in equal if row.what.startswith("link of epoch")]) == 6
    assert has_loss(tab)
    unchecked = rows(tab, "unchecked")
    assert any("verify --replay" in row.result for row in unchecked)
    assert any(row.file == "features.json" for row in unchecked)


def falsify_metric(forger: Forger) -> None:
    forger.put("metrics.json", "average_precision/2", 0.5)


def falsify_metric_and_manifest(forger: Forger) -> None:
    value = forger.json("metrics.json")["mean_average_precision"]
    forger.put("metrics.json", "mean_average_precision", math.nextafter(value, 1))
    forger.seal()


def falsify_loss(forger: Forger) -> None:
    forger.put("metrics.json", "loss", math.nextafter(forger.json("metrics.json")["loss"], 0))
    forger.seal()


def falsify_score(forger: Forger) -> None:
    arrays = forger.arrays()
    arrays["softmax"][3, 1] = np.nextafter(arrays["softmax"][3, 1], np.float32(1))
    forger.write_arrays(arrays)
    forger.seal()


def falsify_scores_with_their_metrics(forger: Forger) -> None:
    arrays = forger.arrays()
    # Each image has its highest score for its own class.
    for image, label in enumerate(arrays["labels"]):
        row = arrays["softmax"][image]
        best = int(row.argmax())
        row[[label, best]] = row[[best, label]]
    forger.write_arrays(arrays)
    forger.remeasure()
    forger.seal()


def falsify_weights(forger: Forger) -> None:
    forger.flip(BEST, -4)
    forger.seal()


def falsify_label(forger: Forger) -> None:
    forger.replace("split.csv", ",street,", ",sea,")
    forger.seal()


def rename_class(forger: Forger) -> None:
    for name in ("split.csv", "pixels.json", "metrics.json"):
        forger.write(name, forger.read(name).replace(b"glacier", b"Glacier"))
    forger.seal()


def swap_images(forger: Forger) -> None:
    archive = forger.work / "report" / check_page.IMAGES
    with zipfile.ZipFile(archive) as stored:
        contents = {name: stored.read(name) for name in stored.namelist()}
    first, second = list(contents)[:2]
    contents[first], contents[second] = contents[second], contents[first]
    with zipfile.ZipFile(archive, "w") as stored:
        for name, content in contents.items():
            stored.writestr(name, content)


def falsify_history(forger: Forger) -> None:
    forger.put(f"{SELECTED}/history.json", "0/mean_class_accuracy", 1.0)
    forger.seal()


def falsify_chain(forger: Forger) -> None:
    forger.put("adamw/tensors.json", "0/optimizer_sha256", "0" * 64)
    forger.seal()


def falsify_hash_of_a_tensor(forger: Forger) -> None:
    entries = forger.json(f"{SELECTED}/tensors.json")
    for entry in entries:
        entry["tensors"]["fc.bias"] = "0" * 12
    entries[1]["previous"] = hashlib.sha256(rfc8785.dumps(entries[0])).hexdigest()
    forger.write_json(f"{SELECTED}/tensors.json", entries)
    forger.seal()


def falsify_settings(forger: Forger) -> None:
    forger.put("config.json", "settings/1/learning_rate", 0.5)
    forger.seal()


def falsify_manifest(forger: Forger) -> None:
    forger.write_json("manifest.json", forger.json("manifest.json") | {"sgd/best.safetensors": "0" * 64})


def shorten_manifest(forger: Forger) -> None:
    forger.seal("sgd/history.json")


def falsify_supports(forger: Forger) -> None:
    forger.put("metrics.json", "supports/test/sea", 200)
    forger.seal()


def falsify_weights_before_training(forger: Forger) -> None:
    forger.put("config.json", "weights", "imagenet")
    (forger.run / "features.json").unlink()


def falsify_metadata(forger: Forger) -> None:
    said = to_metadata(replace(forger.config().preprocessing, mean=(0.5, 0.5, 0.5)))
    forger.write("sgd/best.safetensors", tensor_bytes(forger.weights("sgd"), said))
    forger.seal()


def add_unlisted_file(forger: Forger) -> None:
    forger.write("best/history.json", forger.read("sgd/history.json"))


def add_pixels(forger: Forger) -> None:
    forger.write_json("pixels.json", forger.json("pixels.json") | {"street/9999.bmp": "0" * 64})
    forger.seal()


def reorder_manifest(forger: Forger) -> None:
    forger.write_json("manifest.json", dict(reversed(forger.json("manifest.json").items())))


def test_image_path(forger: Forger) -> str:
    return str(forger.arrays()["paths"][0])


def falsify_pixels(forger: Forger) -> None:
    pixels = forger.json("pixels.json")
    forger.write_json("pixels.json", pixels | {test_image_path(forger): "0" * 64})
    forger.seal()


def test_on_a_training_image(forger: Forger) -> None:
    table = list(csv.reader(io.StringIO(forger.read("split.csv").decode())))
    training = next(row for row in table if row[3] == "training")
    next(row for row in table if row[3] == "test")[2] = training[2]
    forger.write("split.csv", "".join(",".join(row) + "\n" for row in table).encode())
    forger.seal()


test_image_path.__test__ = test_on_a_training_image.__test__ = False  # type: ignore[attr-defined]

FALSIFIED: dict[str, tuple[Callable[[Forger], object], str, str]] = {
    "a metric": (falsify_metric, "metrics.json", "average_precision of glacier"),
    "a metric and the manifest": (falsify_metric_and_manifest, "metrics.json", "mean_average_precision"),
    "the loss and the manifest": (falsify_loss, "metrics.json", "loss"),
    "a score": (falsify_score, "scores.npz", ".bmp"),
    "scores with their metrics": (falsify_scores_with_their_metrics, "scores.npz", ".bmp"),
    "weights": (falsify_weights, BEST, "sha256 of its tensors"),
    "a label of the split": (falsify_label, "split.csv", "class of street/"),
    "a class with a capital": (rename_class, "split.csv", "classes of drawn scenes"),
    "two images": (swap_images, ".bmp", "sha256, from split.csv"),
    "a row of a history": (falsify_history, f"{SELECTED}/history.json", "mean_class_accuracy of epoch 1"),
    "an entry of a chain": (falsify_chain, "adamw/tensors.json", "link of epoch 2"),
    "a tensor's hash": (falsify_hash_of_a_tensor, f"{SELECTED}/tensors.json", "fc.bias"),
    "the settings": (falsify_settings, f"{SELECTED}/tensors.json", "link of epoch 1 to the start"),
    "a line of the manifest": (falsify_manifest, "sgd/best.safetensors", "sha256"),
    "a missing line of the manifest": (shorten_manifest, "manifest.json", "sgd/history.json"),
    "supports": (falsify_supports, "metrics.json", "supports of test"),
    "hashes of pixels": (falsify_pixels, "pixels.json", "decoded pixels"),
    "a training image in the test part": (test_on_a_training_image, "split.csv", "has the sha256 of the"),
    "a loss as what selects": (put("config.json", "select", "train_loss"), "config.json", "select is train_loss"),
    "another metric as what selects": (
        put("config.json", "select", "mean_average_precision"),
        "metrics.json",
        "the best by mean_average_precision",
    ),
    "shares of the split": (put("config.json", "split", ".9/.05/.05"), "config.json", "images of each part"),
    "the seed": (put("config.json", "seed", 7), "split.csv", "drawn from the seed"),
    "weights of ImageNet": (put("config.json", "weights", "imagenet"), "features.json", "weights imagenet"),
    "weights of ImageNet, without feature maps": (
        sealed(falsify_weights_before_training),
        "config.json",
        "those that the seed draws",
    ),
    "weights before training": (
        put("fingerprint.json", "initial_weights_sha256", "0" * 64),
        "fingerprint.json",
        "of the weights that the seed draws",
    ),
    "weights that are a number": (put("config.json", "weights", 7), "config.json", "weights is 7"),
    "flips at test": (put("config.json", "protocol", ["random-flip-at-test"]), "scores.npz", ".bmp"),
    "ranks of logits": (put("config.json", "protocol", ["ap-from-logits"]), "metrics.json", "average_precision of"),
    "a denominator": (
        put("config.json", "protocol", ["padded-denominator"]),
        "features.json",
        "non_positive of sets.0",
    ),
    "batch norm": (put("config.json", "protocol", ["batch-norm-in-train-mode"]), "features.json", "spectra_mode"),
    "an accumulator": (put("config.json", "protocol", ["accumulator-not-reset"]), "features.json", "pooled_images"),
    "one set": (put("config.json", "protocol", ["shared-split"]), "metrics.json", "unseen"),
    "preprocessing": (put("config.json", "mean", [0.5, 0.5, 0.5]), BEST, "metadata, from config.json"),
    "interpolation": (put("config.json", "interpolation", "bicubic"), BEST, "metadata, from config.json"),
    "preprocessing of the weights": (falsify_metadata, "sgd/best.safetensors", "metadata, from config.json"),
    "a key of their own": (put("metrics.json", "mean_class_accuracy_ten_crops", 0.99), "metrics.json", "ten_crops"),
    "a key twice": (sealed(twice), "metrics.json", "has mean_class_accuracy twice"),
    "a key left out": (
        edit("config.json", lambda config: config.pop("warm_up") and None),
        "config.json",
        "lacks warm_up",
    ),
    "1e400": (swap(f"{SELECTED}/history.json", '"train_loss": ', '"train_loss": 1e400, "was": '), HISTORY, "is 1e400"),
    "7 in a row": (put(f"{SELECTED}/history.json", "0/macro_f1", 7), HISTORY, "macro_f1 is 7"),
    "7.0 in a row": (put(f"{SELECTED}/history.json", "0/macro_f1", 7.0), HISTORY, "it should be at most 1"),
    "words in a row": (put(f"{SELECTED}/history.json", "0/val_loss", "very good"), HISTORY, 'val_loss is "very good"'),
    "0 for 0.0": (put("sgd/history.json", "0/class_accuracy/0", 0), "sgd/history.json", "with a point"),
    "-0.0 for 0.0": (edit("metrics.json", minus_zero), "metrics.json", "class_accuracy of"),
    "another notation": (swap("metrics.json", '"loss": ', '"loss":  '), "metrics.json", "as a run writes JSON"),
    "an escape": (swap("metrics.json", '"sea"', '"s\\u0065a"'), "metrics.json", "as a run writes JSON"),
    "quotes": (swap("split.csv", "sea,", '"sea",'), "split.csv", "as a run writes CSV"),
    "an accuracy of no images": (
        put("adamw/history.json", "0/class_accuracy/1", 0.99),
        "adamw/history.json",
        "as shares of",
    ),
    "a file that is not listed": (add_unlisted_file, "best/history.json", "the manifest does not list it"),
    "a superfluous path": (add_pixels, "pixels.json", "street/9999.bmp"),
    "the order of the manifest": (reorder_manifest, "manifest.json", "not sorted"),
    "a probe": (put("fingerprint.json", "probe/softmax", "0" * 12), "fingerprint.json", "numeric_class of its probe"),
    "a comment in the archive": (sealed(comment), "scores.npz", "its arrays make"),
    "weights times 1,000, called native": (scaled(1000.0, lift), "scores.npz", ".bmp"),
}


# Its numbers could differ; what compares them is the same JavaScript. `nox -s evidence -- check-page` tries all there.
IN_FIREFOX = ("a score", "weights", "the loss and the manifest")


@pytest.mark.parametrize(
    ("tab", "change"),
    [
        pytest.param(*browser.values, change, marks=browser.marks)
        for browser, changes in zip(BROWSERS, (FALSIFIED, IN_FIREFOX), strict=True)
        for change in changes
    ],
    indirect=["tab"],
)
def test_a_falsified_run_differs_in_the_file_that_was_changed(tab: Tab, forger: Forger, change: str) -> None:
    falsify, file, what = FALSIFIED[change]
    falsify(forger)
    assert check_all(tab, forger.work).startswith("Something differs in ")
    differences = tab.texts(".differences li")
    assert [each for each in differences if file in each.split(" ")[0] and what in each], differences
    assert tab.problems == []


def is_named(named: list[Row], file: str, path: str) -> bool:
    """Return whether the page names a value of a JSON file among what it does not check."""
    place = re.sub(r"^.*/", "SETTING/", file)
    path = re.sub(r"^\d+/", "", path) if place.startswith("SETTING/") else path
    shapes = [what for row in named if row.file == place for what in row.what.split(", ")]
    patterns = [
        r".*" if shape == "each value" else re.escape(shape.replace(".", "/")).replace(r"\*", "[^/]+")
        for shape in shapes
    ]
    return any(re.fullmatch(pattern, path) for pattern in patterns)


NAMED = "the list of what the page does not check"


def judged_values(tab: Tab, work: Path, most: int) -> Iterator[tuple[str, str, str]]:
    """Yield (file, path, verdict) for values of a run's JSON files, each changed: "found", `NAMED` or "" for neither.

    Of values below one key, `most` are tried.
    """
    check_all(tab, work)
    named = rows(tab, "unchecked")
    tried: Counter[tuple[str, str]] = Counter()
    report = work / "report"
    for file, path, folder in altered_runs(work / "runs/tiny"):
        shape = (file.rpartition("/")[2], re.sub(r"^\d+/", "", path).split("/")[0] if file != "manifest.json" else "")
        tried[shape] += not is_named(named, file, path)
        if is_named(named, file, path):
            yield file, path, NAMED
        elif tried[shape] <= most:
            verdict = check(tab, report / check_page.PAGE, folder, report / check_page.IMAGES)
            is_found = verdict.startswith("Something differs in ")
            yield file, path, "found" if is_found else NAMED if is_named(rows(tab, "unchecked"), file, path) else ""


def test_every_value_that_is_changed_is_noticed_or_named_as_not_checked(tab: Tab, example: Path) -> None:
    judged = list(judged_values(tab, example, most=1))
    assert [(file, path) for file, path, verdict in judged if not verdict] == []
    assert Counter(verdict for _, _, verdict in judged)["found"] > 20


def test_a_file_that_the_manifest_does_not_list_is_named(tab: Tab, forger: Forger) -> None:
    forger.write("notes.txt", b"")
    forger.write("logs/adamw/steps.csv", b"")
    (forger.run / "features.json").unlink()
    check_all(tab, forger.work)
    unchecked = rows(tab, "unchecked")
    assert [row for row in unchecked if row.file == "notes.txt" and "does not list it" in row.result]
    assert [row for row in unchecked if row.file == "logs/adamw/steps.csv" and "a file of a training" in row.result]
    assert [each for each in tab.texts(".differences li") if each.startswith("features.json") and "missing" in each]


def test_a_run_of_format_5_has_its_links_and_pixels_not_checked_and_says_why(
    tab: Tab, tmp_path: Path, numerics: Numerics
) -> None:
    assert check_all(tab, trained(tmp_path, numerics, format=5)).startswith("Nothing differs")
    unchecked = rows(tab, "unchecked")
    assert len([row for row in unchecked if "hashes numbers as Python writes them" in row.result]) == 1
    assert [row for row in unchecked if row.file == "pixels.json"]
    assert [row for row in rows(tab, "equal") if "decoded pixels of all test images" in row.what]


def test_the_hash_of_a_run_is_that_of_verify_whatever_its_settings_are_called(
    tab: Tab, tmp_path: Path, numerics: Numerics
) -> None:
    settings = (replace(PRESETS["tiny"].settings[0], name="bl\u00e5"),)
    work = trained(tmp_path, numerics, settings=settings)
    assert check_all(tab, work).startswith("Nothing differs")
    sha256 = FinishedRun.open(work / "runs/tiny").files.manifest_sha256()
    assert [text for text in tab.texts(".note") if sha256 in text]


def test_images_are_found_in_a_folder_of_the_runs_name_beside_files_of_others(
    tab: Tab, example: Path, tmp_path: Path
) -> None:
    images, run = tmp_path / "tiny", example / "runs/tiny"
    with zipfile.ZipFile(example / "report" / check_page.IMAGES) as archive:
        archive.extractall(images)
    (images / "notes").mkdir()
    (images / "notes/config.json").write_text("{}")
    with zipfile.ZipFile(images / "old.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("notes.txt", "mine")
    tab.open(example / "report" / check_page.PAGE)
    tab.give("folder", run)
    tab.wait(1)
    assert not has_loss(tab)
    tab.give("folder", images)
    tab.wait(2)
    assert tab.texts("#verdict p")[0].startswith("Nothing differs")
    assert has_loss(tab)


def test_what_the_browser_cannot_do_is_no_fault_of_the_run(browser: Any, example: Path) -> None:
    tab = ChromiumTab(browser.new_page())
    tab.tab.add_init_script("Object.defineProperty(globalThis, 'crypto', {value: {}})")
    assert check_all(tab, example).startswith("Nothing differs")
    assert [row for row in rows(tab, "unchecked") if "this browser computes hashes only" in row.result]


CONTENTS = {"nothing": b"", "an object": b"{}", "a list": b"[1]", "null": b"null", "no text": b"\xff\xfe\x00"}
# A header of 2^60 bytes; shapes that are larger than the file; an archive whose directory is beyond its end.
CONTENTS["a length"] = (2**60).to_bytes(8, "little")
CONTENTS["a header"] = b"\x50\0\0\0\0\0\0\0" + b'{"fc.bias":{"dtype":"F32","shape":[9e99],"data_offsets":[0,4]}}'.ljust(
    0x50
)
CONTENTS["an end"] = b"PK\x05\x06" + b"\xff" * 18
FILES = ("config.json", "manifest.json", "split.csv", "metrics.json", "scores.npz", "fingerprint.json", "pixels.json")


@pytest.mark.parametrize("content", CONTENTS)
def test_a_damaged_file_gives_a_sentence_that_names_it(tab: Tab, forger: Forger, content: str) -> None:
    for weights in forger.run.glob("*/*.safetensors"):
        weights.unlink()
    honest = {
        name: forger.read(name)
        for name in (*FILES, "sgd/history.json", "sgd/tensors.json", "sgd/best.safetensors")
        if (forger.run / name).exists()
    }
    for name in (*honest, "sgd/best.safetensors"):
        forger.write(name, CONTENTS[content])
        assert check_all(tab, forger.work).startswith("Something differs in "), name
        assert [each for each in tab.texts(".differences li") if each.startswith(name)], name
        forger.write(name, honest.get(name, b""))
    assert tab.problems == []


def test_names_are_text(tab: Tab, forger: Forger) -> None:
    name = "<img src=x onerror=alert(1)>"
    forger.write("split.csv", forger.read("split.csv").replace(b"street", name.encode()))
    forger.write(f"{name}\u202e.txt", b"")
    check_all(tab, forger.work)
    assert tab.texts("img") == tab.problems == []
    assert [row for row in rows(tab, "different") if name in row.what]
    assert [row for row in rows(tab, "unchecked") if row.file == f"{name}\\u202e.txt"]


def test_without_images_scores_are_not_checked_and_the_page_says_what_to_drop(tab: Tab, example: Path) -> None:
    verdict = check(tab, example / "report" / check_page.PAGE, example / "runs/tiny")
    assert verdict.startswith("Nothing differs")
    unchecked = rows(tab, "unchecked")
    assert [row for row in unchecked if row.what == "12 of 12 images" and check_page.IMAGES in row.result]
    assert [row for row in unchecked if row.file == "scores.npz" and "12 images" in row.what]
    assert [row for row in unchecked if (row.file, row.what) == ("metrics.json", "loss")]


def test_two_runs_and_no_run_are_each_a_sentence(tab: Tab, example: Path, tmp_path: Path) -> None:
    page = example / "report" / check_page.PAGE
    assert check(tab, page, example / "report").startswith("No run is among these files")
    for name in ("first", "second"):
        shutil.copytree(example / "runs/tiny", tmp_path / "both" / name, copy_function=os.link)
    assert "These are 2 runs" in check(tab, page, tmp_path / "both")


def test_a_dropped_folder_is_checked(browser: Any, example: Path) -> None:
    page = browser.new_page()
    page.goto((example / "report" / check_page.PAGE).as_uri())
    session = page.context.new_cdp_session(page)
    files = [str(example / "runs/tiny"), str(example / "report" / check_page.IMAGES)]
    for kind in ("dragEnter", "dragOver", "drop"):
        data = {"items": [], "files": files, "dragOperationsMask": 1}
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 200, "y": 250, "data": data})
    tab = ChromiumTab(page)
    tab.wait(1)
    assert tab.texts("#verdict p")[0].startswith("Nothing differs in tiny.")
    assert has_loss(tab)
    page.close()


def test_a_check_can_be_stopped(tab: Tab, example: Path) -> None:
    report = example / "report"
    tab.open(report / check_page.PAGE)
    tab.give("files", report / check_page.IMAGES)
    tab.wait(1)
    tab.give("folder", example / "runs/tiny")
    tab.press("stop")
    tab.wait(2)
    assert tab.texts("#verdict p")[0].startswith("Stopped. Until then nothing differed")
    assert [row for row in rows(tab, "unchecked") if "the check was stopped" in row.result]


# Other networks, other images and other arithmetic.


def trained(folder: Path, active: Numerics, **changes: Any) -> Path:
    """Train one epoch of the tiny preset with changes, and write the page beside the run; return their folder."""
    tiny = PRESETS["tiny"]
    config = replace(tiny, **{"settings": tiny.settings[:1], "epochs": 1, **changes})
    run = experiment.train(config, folder / "runs/tiny", context=Context(active))
    write_all(run, folder / "report")
    return folder


def links(tab: Tab) -> int:
    return len([row for row in rows(tab, "equal") if row.what.startswith("link of epoch")])


def test_all_deviations_are_followed_or_named(tab: Tab, tmp_path: Path, numerics: Numerics) -> None:
    changes = {"protocol": deviations.parse("published"), "settings": PRESETS["tiny"].settings[:2]}
    work = trained(tmp_path, numerics, **changes)
    run = FinishedRun.open(work / "runs/tiny")
    of_run.write_features(run, run.config, Context(numerics), None)
    assert check_all(tab, work).startswith("Nothing differs")
    assert links(tab) == 2
    assert has_loss(tab)
    assert [row for row in rows(tab, "equal") if row.file == "features.json" and "pooled_images of sets.2" in row.what]
    unchecked = " ".join(row.result for row in rows(tab, "unchecked"))
    for name in ("shared-split", "ap-from-logits"):
        assert name in unchecked


def test_test_losses_of_epochs_are_accused_of_nothing_and_named_as_not_checked(
    tab: Tab, tmp_path: Path, numerics: Numerics
) -> None:
    work = trained(tmp_path, numerics, protocol=deviations.parse("test-loss-each-epoch"))
    assert check_all(tab, work).startswith("Nothing differs")
    (row,) = (row for row in rows(tab, "unchecked") if "test_loss" in row.what.split(", "))
    assert (row.file, "verify computes it again" in row.result) == ("SETTING/history.json", True)


def test_weights_that_a_warm_start_hands_over_are_checked_by_their_hash(
    tab: Tab, tmp_path: Path, numerics: Numerics
) -> None:
    work = trained(tmp_path, numerics, protocol=deviations.parse("warm-start"))
    forger, last = Forger(work, lambda name: Path(name), numerics), "adamw/last.safetensors"
    assert check_all(tab, work).startswith("Nothing differs")
    assert [row for row in rows(tab, "equal") if row.file == last and "for the last epoch" in row.what]
    forger.flip(last, -4)
    forger.seal()
    assert check_all(tab, work).startswith("Something differs")
    assert [each for each in tab.texts(".differences li") if each.startswith(f"{last} sha256 of its tensors")]


def test_fits_of_a_head_are_checked_as_epochs_are(tab: Tab, tmp_path: Path, numerics: Numerics) -> None:
    config = configure("tiny", None, {"train": "head"})
    work = trained(tmp_path, numerics, train=config.train, settings=config.settings)
    assert check_all(tab, work).startswith("Nothing differs")
    assert links(tab) == 7
    assert has_loss(tab)
    before = "with the head that the seed draws, before training"
    assert [row for row in rows(tab, "equal") if before in row.what]
    forger = Forger(work, lambda name: Path(name), numerics)
    moved = forger.weights("head")
    moved["conv1.weight"] = moved["conv1.weight"] + 1
    forger.write_weights("head", moved)
    forger.seal()
    assert check_all(tab, work).startswith("Something differs")
    assert [each for each in tab.texts(".differences li") if each.startswith("head/best") and before in each]


@pytest.mark.parametrize("model", ["resnet34", "resnet50", "efficientnet_lite0", "mobilenet_v2"])
def test_other_networks_are_predicted_with_the_same_bits(
    tab: Tab, tmp_path: Path, model: str, numerics: Numerics
) -> None:
    module = {"efficientnet_lite0": "stem", "mobilenet_v2": "features.1"}.get(model, "layer1.0.conv1")
    work = trained(tmp_path, numerics, model=model, modules=(module,))
    assert check_all(tab, work).startswith("Nothing differs")
    assert has_loss(tab)
    assert rows(tab, "close") == []


def test_a_network_that_the_page_does_not_know_is_not_predicted(tab: Tab, forger: Forger) -> None:
    forger.put("config.json", "model", "vgg11")
    check_all(tab, forger.work)
    assert [row for row in rows(tab, "unchecked") if "this page knows the networks resnet18" in row.result]


def test_weights_that_do_not_fit_the_network_are_refused_by_name(tab: Tab, forger: Forger) -> None:
    forger.put("config.json", "model", "resnet34")
    check_all(tab, forger.work)
    assert [each for each in tab.texts(".differences li") if each.startswith(BEST) and "layer1.2.conv1.weight" in each]


@pytest.mark.parametrize("model", ["resnet18", "mobilenet_v2"])
def test_scores_of_native_arithmetic_are_compared_within_a_tolerance(tab: Tab, tmp_path: Path, model: str) -> None:
    module = "features.1" if model == "mobilenet_v2" else "conv1"
    work = trained(tmp_path, activate("native", "cpu"), numerics="native", model=model, modules=(module,))
    verdict = check_all(tab, work)
    assert verdict.startswith("Nothing differs")
    assert "within the tolerance" in verdict
    assert "native arithmetic" in " ".join(tab.texts(".note"))
    shown = [row for row in rows(tab, "close") if row.file == "scores.npz"]
    differences = [
        abs(float(one) - float(other))
        for row in shown
        for one, other in zip(row.recorded.split(","), row.computed.split(","), strict=True)
    ]
    assert 0 < max(differences) < 1e-5


def test_photographs_are_checked_by_their_bytes_and_predicted_from_pixels_of_a_file(
    tab: Tab, tmp_path: Path, copied_scenes: Callable[[Path], Path], numerics: Numerics
) -> None:
    data = copied_scenes(tmp_path / "photographs")
    for file in data.rglob("*.bmp"):
        Image.open(file).save(file.with_suffix(".png"))
        file.unlink()
    work = trained(tmp_path, numerics, data=str(data))
    page, pixels = work / "report" / check_page.PAGE, work / "report" / check_page.PIXELS
    assert not (work / "report" / check_page.IMAGES).exists()
    tab.open(page)
    tab.give("folder", data)
    tab.wait(1)
    tab.give("folder", work / "runs/tiny")
    tab.wait(2)
    assert links(tab) == 1
    assert (
        len([row for row in rows(tab, "equal") if row.file.endswith(".png") and row.what == "sha256, from split.csv"])
        == 12
    )
    assert [row for row in rows(tab, "unchecked") if row.what == "12 of 12 images" and check_page.PIXELS in row.result]
    tab.give("files", pixels)
    tab.wait(3)
    assert has_loss(tab)
    assert [text for text in tab.texts(".note") if "12 images come from check-pixels.safetensors" in text]


def test_average_precision_of_logits_is_compared_with_predicted_ones(tab: Tab, forger: Forger) -> None:
    # The protocol is no part of the chain, and the scores stay those of the network.
    run, numerics = forger.run, forger.numerics
    forger.put("config.json", "protocol", ["ap-from-logits"])
    config, split = forger.config(), forger.split()
    images = load_images("test", split.root, split.parts["test"], config.image_size, cache=False)
    model = config.network.restore(6, forger.weights(SELECTED), f"{run}")
    scores = predict(numerics.place(model), images, config, Context(numerics))
    record = forger.json("metrics.json") | dict(scores.metrics(by_logits=True))
    forger.write_json("metrics.json", record)
    forger.seal()
    assert check_all(tab, forger.work).startswith("Nothing differs")
    assert [row for row in rows(tab, "equal") if (row.file, row.what) == ("metrics.json", "mean_average_precision")]
    forger.put("metrics.json", "mean_average_precision", 0.5)
    forger.seal()
    assert check_all(tab, forger.work).startswith("Something differs")


# Functions of the page, beside those of others. Scripts of a test need a page without its security policy.


@pytest.fixture
def inside(browser: Any, example: Path) -> Iterator[Any]:
    context = browser.new_context(bypass_csp=True)
    page = context.new_page()
    page.goto((example / "report" / check_page.PAGE).as_uri())
    yield page
    context.close()


def test_sums_are_rounded_once(inside: Any) -> None:
    generator = np.random.default_rng(0)
    lists = [[1e100, 1.0, -1e100], [2.0**53, 1.0, 2.0**-60], [2.0**53, 1.0], [0.1] * 10, [1e308, 1e-320, -1e308], []]
    # The middle between two doubles, and what decides.
    lists += [[1.0, 2.0**-53, 2.0**-120], [1.0, 2.0**-53], [1.0 + 2.0**-52, 2.0**-53, -(2.0**-120)]]
    lists += [(generator.standard_normal(n) * 10.0 ** generator.integers(-30, 30, n)).tolist() for n in range(1, 40)]
    assert inside.evaluate(f"{json.dumps(lists)}.map(exactSum)") == [math.fsum(each) for each in lists]
    plain = inside.evaluate(f"{json.dumps(lists)}.map(each => each.reduce((sum, value) => sum + value, 0))")
    assert plain != [math.fsum(each) for each in lists]


@pytest.mark.parametrize("decimals", [7, 1], ids=["distinct-scores", "tied-scores"])
def test_metrics_agree_with_those_of_scikit_learn(inside: Any, decimals: int) -> None:
    generator = np.random.default_rng(decimals)
    labels = np.r_[np.arange(4), generator.integers(0, 4, 60)]
    scores = generator.dirichlet(np.ones(4), 64).astype(np.float32).round(decimals)
    rows_of = "rows.map(row => Float32Array.from(row))"
    script = f"((labels, rows) => computeMetrics(labels, {rows_of}, {rows_of}))"
    ours = inside.evaluate(f"{script}({labels.tolist()}, {scores.tolist()})")
    predicted = scores.argmax(axis=1)
    expected = {
        "class_accuracy": sklearn_metrics.recall_score(labels, predicted, average=None),
        "average_precision": [sklearn_metrics.average_precision_score(labels == k, scores[:, k]) for k in range(4)],
        "mean_class_accuracy": sklearn_metrics.balanced_accuracy_score(labels, predicted),
        "macro_f1": sklearn_metrics.f1_score(labels, predicted, average="macro"),
        "accuracy": sklearn_metrics.accuracy_score(labels, predicted),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(ours[name], value, rtol=1e-12, atol=0)
    assert not np.allclose(ours["average_precision"], expected["class_accuracy"])


def test_json_is_canonical_as_by_rfc_8785(inside: Any) -> None:
    value = {
        "numbers": [0.001, 1e-7, 1e21, 333333333.33333329, 4.50, 2e-3, 1e-27, 0, -0.0, 5e-324, 1.7976931348623157e308],
        "\u20ac": '\u0019\n"\\',
        "\r": "",
        "\U0001f600": 1,
        "\ufb33": 2,
        "1": None,
        "\u0080": True,
        "nested": {"b": [], "a": {}},
    }
    assert inside.evaluate(f"canonical({json.dumps(value)})").encode() == rfc8785.dumps(value)
    assert json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() != rfc8785.dumps(value)


def test_csv_is_read_as_python_writes_it(inside: Any) -> None:
    table = [["path", "class"], ['a,"b"\n.png', "c"], ["", "d e"], ['"', ","]]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(table)
    assert inside.evaluate(f"parseCsv({json.dumps(text.getvalue())})") == table


@pytest.mark.parametrize("shape", [(5, 7), (4, 4), (1, 3)])
def test_bmp_is_decoded_as_by_pillow(inside: Any, shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "BMP")
    decode = "bytes => { const {pixels} = decodeBmp(Uint8Array.from(bytes)); return pixels && [...pixels]; }"
    assert inside.evaluate(f"({decode})({list(stream.getvalue())})") == pixels.flatten().tolist()
    palette = io.BytesIO()
    Image.fromarray(pixels).quantize(4).save(palette, "BMP")
    assert "other than 24 bits" in inside.evaluate(f"decodeBmp(Uint8Array.from({list(palette.getvalue())}))")


# Who reads it.

VIEWS = ((320, "light"), (320, "dark"), (1200, "light"), (1200, "dark"))


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_no_checker_finds_anything_and_nothing_overflows(browser: Any, forger: Forger, width: int, scheme: Any) -> None:
    falsify_metric(forger)
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=True)
    tab = ChromiumTab(context.new_page())
    check_all(tab, forger.work)
    tab.tab.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    violations = axe.Axe().run(tab.tab, options={"resultTypes": ["violations"]}).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"]) for each in violations] == []
    assert tab.tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    context.close()


def test_everything_is_reached_by_the_keyboard(browser: Any, example: Path) -> None:
    page = browser.new_page()
    tab = ChromiumTab(page)
    check_all(tab, example)
    page.locator("h1").click()
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached |= set(page.locator(":focus").evaluate_all("all => all.map(each => each.id || each.tagName)"))
    assert {"folder", "files", "SUMMARY"} <= reached
    page.close()


def test_the_policy_of_the_page_allows_no_request_and_no_other_script() -> None:
    html = check_page.html()
    policy = html.split('Content-Security-Policy" content="')[1].split('"')[0]
    allowed = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert allowed.pop("default-src") == allowed.pop("base-uri") == allowed.pop("form-action") == "'none'"
    assert allowed.pop("worker-src") == "blob:"
    assert allowed.pop("script-src").split(" ")[1:] == ["'wasm-unsafe-eval'"]
    assert allowed.pop("style-src").startswith("'sha256-")
    assert allowed == {}
    assert html == check_page.html()
    for word in ("innerHTML", "insertAdjacentHTML", "document.write", "fetch(", "XMLHttpRequest", "http:", "https:"):
        assert word not in html, word


def test_the_page_names_the_numeric_class_of_the_kernels(numerics: Numerics) -> None:
    if not numerics.portable:
        pytest.skip("portable arithmetic is not available")
    assert numerics.numeric_class == check_page.NUMERIC_CLASS


def test_equal_images_give_an_equal_archive_and_changed_ones_are_refused(example: Path, tmp_path: Path) -> None:
    run = FinishedRun.open(example / "runs/tiny")
    archive = check_page.write_images(run, tmp_path)
    assert archive is not None
    assert archive.read_bytes() == (example / "report" / check_page.IMAGES).read_bytes()
    entries = {**run.split.parts, "test": tuple(replace(each, sha256="0" * 64) for each in run.split.parts["test"])}
    with pytest.raises(ValueError, match="has other bytes than when the split was made"):
        check_page.write_images(replace(run, split=replace(run.split, parts=entries)), tmp_path)


def test_pixels_are_those_that_the_network_reads(example: Path) -> None:
    from safetensors import safe_open

    images = FinishedRun.open(example / "runs/tiny").test_images(None, Context().progress)
    with safe_open(example / "report" / check_page.PIXELS, "numpy") as file:
        assert json.loads(file.metadata()["paths"]) == list(images.paths)
        assert torch.equal(torch.from_numpy(file.get_tensor("pixels")), torch.from_numpy(np.array(images.pixels)))
