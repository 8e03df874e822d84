"""A finished run is read and checked once, sent to other processes, and judged; a bad file is refused by its name."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch

from in4310repro.data.embedded import embedded_catalogue
from in4310repro.data.splits import check_contents
from in4310repro.models.sources import open_network
from in4310repro.runs import names
from in4310repro.runs.config import to_json
from in4310repro.runs.finished import FinishedRun, advise, image_root, open_run
from in4310repro.runs.folder import RunFolder, array_bytes, finished_files
from in4310repro.runs.presets import PRESETS
from in4310repro.system.files import file_sha256
from in4310repro.system.processes import ALONE, Processes
from in4310repro.system.progress import SILENT
from in4310repro.system.tensors import tensors_sha256
from tests.builders import write_images
from tests.runs import made_up
from tests.runs.made_up import CONFIG, Records

PATHS = {part: [entry.path for entry in entries] for part, entries in made_up.split().parts.items()}


def opened(folder: Path, made: Records) -> FinishedRun:
    return FinishedRun.open(made_up.write(folder, made).folder)


def test_a_run_holds_what_its_files_hold(tmp_path: Path) -> None:
    made = made_up.records()
    run = opened(tmp_path / "run", made)
    found = Records(
        run.config,
        run.fingerprint,
        run.pixel_hashes(),
        run.split,
        run.histories,
        run.tensors,
        run.metrics,
        run.scores,
        run.features,
    )
    # Where the images lie is not in the table.
    needed = replace(made, split=replace(made.split, root=Path()))
    arrays = {"labels": needed.scores.labels.tolist(), "softmax": needed.scores.softmax.tolist()}
    assert (run.folder, run.classes) == (tmp_path / "run", ["bay", "sea"])
    assert {name: getattr(found.scores, name).tolist() for name in arrays} == arrays
    assert (found.scores.paths, found.scores.loss, found.scores.logits) == (needed.scores.paths, 0.5, None)
    assert replace(found, scores=needed.scores) == needed
    assert run.training_sha256 == made_up.canonical_sha256(made.tensors["two"][-1])


def test_a_run_commits_to_the_last_of_its_epochs(tmp_path: Path) -> None:
    run = opened(tmp_path / "run", made_up.records())
    third: Any = {"epoch": 3}
    longer = replace(run, tensors={"two": [*run.tensors["two"], third]})
    assert longer.training_sha256 == made_up.canonical_sha256(third)


def test_feature_maps_may_be_measured_later_and_images_lie_where_the_configuration_says(tmp_path: Path) -> None:
    # Of photographs whose orientation is ignored, as drawn scenes have none: the chain is that of the records.
    made = made_up.records(replace(CONFIG, data="photos", orientation="ignored"))
    run = opened(tmp_path / "run", replace(made, features=None))
    assert (run.features, run.split.root) == (None, Path("photos"))


@pytest.mark.parametrize("name", ["metrics.json", "config.json"])
def test_a_folder_of_an_unfinished_run_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The message names runs of the working folder.
    monkeypatch.chdir(tmp_path)
    files = made_up.write(tmp_path / "run", made_up.records())
    (files.folder / name).unlink()
    sentence = {
        "metrics.json": f"{files.folder} holds no finished run: it has no metrics.json",
        "config.json": f"{files.folder} is not a run folder: it has no config.json; `in4310repro train` writes one",
    }[name]
    for read in (finished_files, FinishedRun.open):
        with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
            read(files.folder)


def test_a_run_of_the_format_before_is_refused_although_reports_read_its_configuration(tmp_path: Path) -> None:
    files = made_up.write(tmp_path / "run", made_up.records())
    files.write_json("config.json", to_json(CONFIG) | {"format": 2})
    said = r"config\.json is of format 2 and this version reads formats 3, 4, 5, 6 and 7"
    with pytest.raises(ValueError, match=said):
        FinishedRun.open(files.folder)


def test_a_damaged_manifest_and_contradictions_and_broken_chains_are_refused(tmp_path: Path) -> None:
    files = made_up.write(tmp_path / "run", made_up.records())
    (files.folder / "manifest.json").write_bytes(b"[]")
    with pytest.raises(ValueError, match=r"manifest\.json: its value is \[\]"):
        FinishedRun.open(files.folder)
    made = made_up.records()
    made.metrics["epoch"] = 1
    with pytest.raises(ValueError, match=r"metrics\.json: epoch is 1; by history\.json it is 2"):
        opened(tmp_path / "contradiction", made)
    made = made_up.records()
    made.tensors["one"][1]["previous"] = "0" * 64
    with pytest.raises(ValueError, match=r"one/tensors\.json: epoch 2: the chain is broken"):
        opened(tmp_path / "chain", made)


PATHS_OF_TEST, LABELS = np.array(PATHS["test"]), np.array([0, 1, 1], np.int64)
SOFTMAX = np.array([[1, 0], [0.25, 0.75], [0.5, 0.5]], np.float32)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"logits": SOFTMAX}, " has ['labels', 'logits', 'paths', 'softmax']; it must have paths, labels, softmax"),
        ({"paths": LABELS}, ": paths is int64 of shape (3,); it must be str_ with 1 axes"),
        ({"paths": PATHS_OF_TEST[None]}, ": paths is <U9 of shape (1, 3); it must be str_ with 1 axes"),
        ({"labels": LABELS.astype(np.int32)}, ": labels is int32 of shape (3,); it must be int64 with 1 axes"),
        ({"labels": LABELS[:, None]}, ": labels is int64 of shape (3, 1); it must be int64 with 1 axes"),
        ({"softmax": SOFTMAX.astype(float)}, ": softmax is float64 of shape (3, 2); it must be float32 with 2 axes"),
        ({"softmax": SOFTMAX[:, 0]}, ": softmax is float32 of shape (3,); it must be float32 with 2 axes"),
        (
            {"softmax": SOFTMAX[:2]},
            ": paths, labels and softmax are of {'labels': 3, 'paths': 3, 'softmax': 2} images; "
            "each image is in all of them",
        ),
    ],
)
def test_scores_of_another_form_are_refused(changes: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    files = made_up.write(tmp_path / "run", made_up.records())
    files.write_bytes(
        "scores.npz", array_bytes({"labels": LABELS, "paths": PATHS_OF_TEST, "softmax": SOFTMAX} | changes)
    )
    with pytest.raises(ValueError, match=f"^{re.escape(f'{files.folder}/scores.npz{sentence}')}$"):
        FinishedRun.open(files.folder)


def one_layer(num_classes: int) -> torch.nn.Module:
    return torch.nn.Linear(2, num_classes)


def with_weights(folder: Path) -> FinishedRun:
    """Return a run with a one-layer network."""
    model = f"{__name__}:one_layer"
    open_network(model).trust()
    made = made_up.records(replace(made_up.CONFIG, model=model))
    weights = {"weight": torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "bias": torch.tensor([3.0, 5.0])}
    sha256 = tensors_sha256(weights)
    made.histories["two"][1]["weights_sha256"] = made.tensors["two"][1]["weights_sha256"] = sha256
    made.metrics["weights_sha256"] = sha256
    files = made_up.write(folder, made)
    files.write_weights("two/best.safetensors", weights)
    return FinishedRun.open(folder)


def test_the_network_is_that_of_the_selected_setting(tmp_path: Path) -> None:
    run = with_weights(tmp_path / "run")
    for network in (run.selected_network(), run.saved_network()):
        assert {name: value.tolist() for name, value in network.state_dict().items()} == {
            "weight": [[1.0, 2.0], [3.0, 4.0]],
            "bias": [3.0, 5.0],
        }


def test_weights_that_do_not_fit_the_network_are_named_with_their_file(tmp_path: Path) -> None:
    run = with_weights(tmp_path / "run")
    RunFolder.open(run.folder).write_weights("two/best.safetensors", {"weight": torch.ones(1, 2)})
    with pytest.raises(ValueError, match=rf"^{re.escape(str(run.folder / 'two/best.safetensors'))}.*: bias is missing"):
        run.saved_network()


def test_other_weights_than_were_scored_are_saved_and_not_selected(tmp_path: Path) -> None:
    run = with_weights(tmp_path / "run")
    other = dict(run.saved_network().state_dict()) | {"bias": torch.tensor([4.0, 5.0])}
    RunFolder.open(run.folder).write_weights("two/best.safetensors", other)
    assert run.saved_network().state_dict()["bias"].tolist() == [4, 5]
    sentence = (
        f"{run.folder / 'two/best.safetensors'} holds other weights than the test set was scored with: "
        "see weights_sha256 in metrics.json"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        run.selected_network()


def with_images(folder: Path) -> FinishedRun:
    """Return a run whose images exist as files."""
    root = write_images(folder / "images", *(path for paths in PATHS.values() for path in paths), size=32)
    made = made_up.records()
    hashed = {
        part: tuple(replace(entry, sha256=file_sha256(root / entry.path)) for entry in entries)
        for part, entries in made.split.parts.items()
    }
    run = opened(folder / "run", made)
    return replace(run, split=replace(run.split, parts=hashed), config=replace(CONFIG, image_size=32, data=str(root)))


def test_test_images_are_read_where_they_are_now(tmp_path: Path) -> None:
    run = with_images(tmp_path)
    moved = (tmp_path / "images").rename(tmp_path / "moved")
    images = run.test_images(str(moved), SILENT)
    assert (images.name, list(images.paths), images.labels.tolist()) == ("test", PATHS["test"], [0, 1, 1])
    assert images.pixels.shape == (3, 32, 32, 3)
    assert run.split_below(str(moved)) == replace(run.split, root=moved)
    check_contents(run.split_below(str(moved)))
    with pytest.raises(ValueError, match=r"image bay/0\.png of the split is not below .*images"):
        run.split_below(None)
    (moved / "sea/1.png").write_bytes(b"another")
    for read in (run.split_below, lambda data: run.test_images(data, SILENT)):
        with pytest.raises(ValueError, match=r"sea/1\.png has other bytes than when the split was made"):
            read(str(moved))


def test_images_lie_where_is_said_now_then_where_the_configuration_says_then_among_the_scenes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IN4310REPRO_CACHE", str(tmp_path))
    own = replace(CONFIG, data="photos", seed=7)
    assert [
        image_root(own, "now"),
        image_root(own, None),
        image_root(replace(own, data=None), "now"),
    ] == [
        Path("now"),
        Path("photos"),
        Path("now"),
    ]
    assert list(tmp_path.iterdir()) == []
    assert image_root(replace(own, data=None), None) == embedded_catalogue(4, 224, 7).root


def run_with(run: FinishedRun, training: list[int], validation: list[int], right: list[int]) -> FinishedRun:
    """Return the run with these numbers of images per class, and of correctly classified validation images."""
    named = {"training": training, "validation": validation, "test": [2] * 6}
    supports = {part: dict(zip(run.classes, counts, strict=True)) for part, counts in named.items()}
    shares = [correct / count for correct, count in zip(right, validation, strict=True)]
    mean = sum(shares) / len(shares)
    row = run.histories["sgd"][0] | {"class_accuracy": shares, "mean_class_accuracy": mean}
    return replace(run, metrics=run.metrics | {"supports": supports}, histories={"sgd": [row]})


@pytest.mark.parametrize(
    ("validation", "right"),
    [
        ([2] * 6, [1] * 6),
        ([20] * 6, [4] * 6),
        ([20] * 6, [6] * 6),
        ([20] * 6, [0] * 6),
        # Always the largest class.
        ([50, 10, 10, 10, 10, 10], [50, 0, 0, 0, 0, 0]),
        ([50, 10, 10, 10, 10, 10], [45, 5, 5, 5, 5, 5]),
    ],
)
def test_guessing_is_said_where_the_interval_of_the_validation_accuracy_reaches_it(
    validation: list[int], right: list[int], finished_run: Path
) -> None:
    said = advise(run_with(FinishedRun.open(finished_run), [100] * 6, validation, right))
    images = sum(validation)
    interval = scipy.stats.binomtest(sum(right), images).proportion_ci(0.95, method="wilson")
    if interval.low > max(validation) / images:
        assert said == ""
    else:
        chance = max(validation) / images
        verdict = "not shown to be better" if chance <= interval.high else "worse"
        assert said.startswith(f"{verdict} than guessing: {sum(right)} of {images} validation images are right ")
        assert f"(95 % interval {interval.low:.2f} to {interval.high:.2f})" in said
        largest = "the largest class" if len({*validation}) > 1 else "one of the largest classes"
        assert f"always naming {largest} gives {chance:.2f}; " in said
        assert said.endswith("try more images or more --epochs")


def test_few_training_images_are_said_and_no_weights_are_advised_that_are_there(finished_run: Path) -> None:
    run = FinishedRun.open(finished_run)
    few = run_with(run, [19, *[500] * 5], [50] * 6, [45] * 6)
    assert advise(few) == "19 training images of the smallest class are few; try more images or more --epochs"
    mine = replace(few, config=replace(run.config, data="photos/mine"))
    assert advise(mine).endswith("are few; try --preset photographs-head, more images or more --epochs")
    begun = replace(mine, config=replace(mine.config, weights="imagenet"))
    assert advise(begun).endswith("; try more images or more --epochs")
    fitted = replace(few, config=replace(PRESETS["photographs-head"], data="photos/mine"))
    assert advise(fitted).endswith("; try more images or --train all")
    assert advise(run_with(run, [20] * 6, [50] * 6, [45] * 6)) == ""


@dataclass(frozen=True)
class Beside(Processes):
    """Stand-in for two processes: the second receives what the first broadcasts."""

    size: int = 2
    said: tuple[list[bytes]] = ([],)

    def broadcast(self, data: bytes = b"") -> bytes:
        if self.leads:
            self.said[0].append(data)
        return self.said[0][0]


def test_another_process_opens_the_run_that_the_first_one_sends(finished_run: Path) -> None:
    said: tuple[list[bytes]] = ([],)
    with open_run(finished_run, Beside(rank=0, said=said)) as first:
        assert first.folder == finished_run
    with open_run(Path("nowhere"), Beside(rank=1, said=said)) as second:
        assert second.folder not in (finished_run, Path("nowhere"))
        assert (second.config, second.metrics, second.histories) == (first.config, first.metrics, first.histories)
        mine, theirs = (run.selected_network().state_dict() for run in (first, second))
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)
        weights = list(second.folder.rglob(names.BEST_WEIGHTS))
    assert [file.parent.name for file in weights] == [first.metrics["setting"]]
    assert not second.folder.exists()


def test_a_process_alone_reads_the_folder_and_sends_nothing(finished_run: Path, tmp_path: Path) -> None:
    with open_run(finished_run, ALONE) as run:
        assert run.folder == finished_run
    with pytest.raises(ValueError, match="not a run folder"), open_run(tmp_path / "none", ALONE):
        pass
