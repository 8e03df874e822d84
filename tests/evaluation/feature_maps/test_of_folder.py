"""Feature statistics of a folder: files, rejected input, partial results, and any number of processes."""

import csv
import hashlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from numpy.typing import NDArray
from PIL import Image

from in4310repro import models
from in4310repro.data.images import normalize
from in4310repro.data.reading import decode
from in4310repro.evaluation.feature_maps import of_folder
from in4310repro.evaluation.feature_maps.measurement import Request, folder_result, parse_modules, to_csv, to_text
from in4310repro.evaluation.feature_maps.of_folder import (
    measure_folder,
    remove_partial_results,
    with_ending,
)
from in4310repro.features import FeatureStatistics
from in4310repro.system.context import Context
from in4310repro.system.numerics import Numerics
from in4310repro.system.processes import Processes
from in4310repro.system.tensors import metadata_of, tensors_sha256
from tests.builders import Watched, feature_request
from tests.conftest import Call, active, refused
from tests.processes import held_by_another_process

IMAGES = 70  # more than a block


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    for number in range(IMAGES):
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{number:03d}.png")
    return root


def request(pictures: Path, **changes: object) -> Request:
    settings: dict[str, object] = {"data": str(pictures), "weights": "none", "images": IMAGES, "image_size": 32}
    return feature_request(**settings | changes)


def test_shares_and_eigenvalues_are_those_of_the_maps(pictures: Path) -> None:
    result = measure_folder(request(pictures, precision="exact", modules="conv1"), Context(active()))
    assert result is not None
    model = models.build("resnet18", 1000, 0).eval()
    pixels = np.stack([decode(file, 32) for file in sorted(pictures.iterdir())])
    with torch.no_grad():
        maps = model.conv1(normalize(pixels)).double().numpy()  # type: ignore[operator]
    ours = result["modules"]["conv1"]
    assert ours["non_positive"] == pytest.approx((maps <= 0).mean(), abs=1e-5)
    oracle = np.linalg.eigvalsh(np.cov(maps.mean(axis=(2, 3)), rowvar=False, bias=True))[::-1][:15]
    np.testing.assert_allclose(ours["eigenvalues"], oracle, rtol=0, atol=1e-5 * oracle[0])
    assert ours["images"] == IMAGES


@pytest.fixture(scope="module")
def maps(pictures: Path) -> NDArray[np.float64]:
    """Return conv1's output for the images in `pictures`, sorted by path, as [image, channel, position]."""
    model = models.build("resnet18", 1000, 0).eval()
    pixels = np.stack([decode(file, 32) for file in sorted(pictures.iterdir())])
    with torch.no_grad():
        made = model.conv1(normalize(pixels))  # type: ignore[operator]
    return made.double().numpy().reshape(IMAGES, 64, -1)  # type: ignore[no-any-return]


def test_quantiles_are_those_of_all_values_in_their_order(pictures: Path, maps: NDArray[np.float64]) -> None:
    result = measure_folder(request(pictures, modules="conv1"), Context(active()))
    assert result is not None
    activations = result["modules"]["conv1"]["activations"]
    ordered = np.sort(maps.ravel())
    for share, thousandths in (("0.001", 1), ("0.1", 100), ("0.5", 500), ("0.999", 999)):
        value = ordered[-(-thousandths * ordered.size // 1000) - 1]
        assert abs(activations["quantiles"][share] - value) <= abs(value) / 64 + 1e-6
    assert sum(activations["powers_of_two"].values()) == ordered.size
    # Beside another place in the order, which is not so near.
    assert abs(activations["quantiles"]["0.1"] - ordered[ordered.size // 5]) > abs(ordered[ordered.size // 5]) / 64


def test_the_images_that_excite_a_channel_most_are_named_below_the_folder(
    pictures: Path, maps: NDArray[np.float64], tmp_path: Path
) -> None:
    folder = tmp_path / "photos" / "inner"
    shutil.copytree(pictures, folder)
    result = measure_folder(request(folder.parent, modules="conv1"), Context(active()))
    assert result is not None
    activations: Any = result["modules"]["conv1"]["activations"]
    peaks = maps.max(axis=2)  # image by channel
    channels = np.argsort(-peaks.max(axis=0))[:3]
    assert [each["channel"] for each in activations["top_images"]] == channels.tolist()
    for each in activations["top_images"]:
        first = np.argsort(-peaks[:, each["channel"]])[:3]
        assert each["images"] == [f"inner/{image:03d}.png" for image in first]
        np.testing.assert_allclose(each["responses"], peaks[first, each["channel"]], rtol=1e-5)
    assert activations["never_positive"] == np.flatnonzero(peaks.max(axis=0) <= 0).tolist()


def test_a_channel_that_no_image_excites_is_counted(pictures: Path, tmp_path: Path, call: Call) -> None:
    state = models.build("resnet18", 1000, 0).state_dict()
    # Channel 5 of what the batch norm gives is -1 everywhere.
    state["bn1.weight"][5], state["bn1.bias"][5] = 0.0, -1.0
    torch.save(state, tmp_path / "w.pth")
    words = ("features", "--data", str(pictures), "--image-size", "32", "--images", "4", "--modules", "bn1,relu")
    code, out, _ = call(*words, "--weights", "w.pth", "--out", "maps.json")
    heading, bn1, relu, *_ = [re.split(r"\s{2,}", line.strip()) for line in out.splitlines()]
    assert (code, heading) == (0, ["module", "values <= 0", "1 %", "median", "99 %", "never positive", "channels"])
    assert ((bn1[0], *bn1[-2:]), (relu[0], *relu[-2:])) == (("bn1", "1", "64"), ("relu", "1", "64"))
    made = json.loads((tmp_path / "maps.json").read_text())["modules"]
    assert made["bn1"]["activations"]["never_positive"] == [5]
    rows = {row["module"]: row for row in csv.DictReader((tmp_path / "maps.csv").read_text().splitlines())}
    assert rows["relu"]["never_positive"] == "1"
    for name in ("bn1", "relu"):
        quantiles = made[name]["activations"]["quantiles"]
        assert {share: float(rows[name][f"quantile_{share}"]) for share in quantiles} == quantiles
        shown = [f"{quantiles[share]:.3g}" for share in ("0.01", "0.5", "0.99")]
        assert (bn1 if name == "bn1" else relu)[2:5] == shown


def test_images_are_prepared_as_the_weights_say(pictures: Path, tmp_path: Path) -> None:
    said = {"mean": [0.5, 0.25, 0.125], "std": [0.5, 0.25, 0.75], "interpolation": "nearest", "crop_ratio": 0.5}
    model = models.build("resnet18", 1000, 0).eval()
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    safetensors.torch.save_file(state, tmp_path / "w.safetensors", {"preprocessing": json.dumps(said)})
    made = request(pictures, precision="exact", modules="conv1", weights=str(tmp_path / "w.safetensors"))
    result = measure_folder(made, Context(active()))
    assert result is not None
    # The middle 16 of 32 pixels, each twice.
    cropped = [
        np.asarray(Image.open(file))[8:24, 8:24].repeat(2, 0).repeat(2, 1) for file in sorted(pictures.iterdir())
    ]
    images = (np.stack(cropped) / 255 - np.array(said["mean"])) / np.array(said["std"])
    with torch.no_grad():
        maps = model.conv1(torch.from_numpy(images).permute(0, 3, 1, 2).float()).numpy()  # type: ignore[operator]
    ours = result["modules"]["conv1"]["non_positive"]
    assert ours == pytest.approx((maps <= 0).mean(), abs=1e-5)
    usual = measure_folder(request(pictures, precision="exact", modules="conv1"), Context(active()))
    assert usual is not None
    assert abs(ours - usual["modules"]["conv1"]["non_positive"]) > 1e-3
    assert result["request"]["preprocessing"] == said


def test_weights_that_do_not_say_how_images_are_prepared_are_taken_for_usual_ones_and_that_is_said(
    pictures: Path, tmp_path: Path, call: Call
) -> None:
    torch.save(models.build("resnet18", 1000, 0).state_dict(), tmp_path / "w.pth")
    words = ("features", "--data", str(pictures), "--image-size", "32", "--images", "4", "--modules", "conv1")
    code, _, error = call(*words, "--weights", "w.pth", "--out", "maps.json")
    assert (code, "w.pth does not say how images are prepared for it" in error) == (0, True)


def command(pictures: Path, out: Path, *launcher: str) -> None:
    words = ["features", "--data", str(pictures), "--weights", "none", "--image-size", "32", "--images", str(IMAGES)]
    words += ["--modules", "conv1,layer2.1.conv1", "--samples", "positions", "--numerics", "auto", "--device", "cpu"]
    words += ["--out", str(out)]
    subprocess.run(
        [sys.executable, *launcher, "-m", "in4310repro", *words], check=True, capture_output=True, env=dict(os.environ)
    )


@pytest.mark.slow
def test_two_processes_under_torchrun_write_the_bits_of_one(pictures: Path, tmp_path: Path, numerics: Numerics) -> None:
    # As torchrun has it: LAPACK's last bits depend on the number.
    torch.set_num_threads(1)
    one = measure_folder(request(pictures, modules="conv1,layer2.1.conv1", samples="positions"), Context(active()))
    torch.set_num_threads(numerics.threads)
    command(pictures, tmp_path / "two.json", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    two = json.loads((tmp_path / "two.json").read_text())
    assert one is not None
    assert json.loads(json.dumps(one["modules"])) == two["modules"]
    assert two["modules"]["conv1"]["images"] == IMAGES
    rows = list(csv.DictReader((tmp_path / "two.csv").read_text().splitlines()))
    assert [row["module"] for row in rows] == ["conv1", "layer2.1.conv1"]
    assert float(rows[0]["eigenvalue_1"]) == two["modules"]["conv1"]["eigenvalues"][0]
    with Image.open(tmp_path / "two.png") as chart:
        assert chart.width > 500


def test_the_statistics_of_two_ranks_are_those_of_one_and_the_second_has_no_result(
    pictures: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, second = request(pictures, modules="conv1"), list[FeatureStatistics]()
    alone = measure_folder(options, Context(active()))
    # In turn, so that the first merges what the second has left.
    for rank, gather in ((1, second.append), (0, lambda statistics: statistics.merge(*second))):
        monkeypatch.setattr(of_folder, "join", lambda _device, rank=rank: nullcontext(Processes(rank, 2)))
        monkeypatch.setattr(of_folder, "gather", gather)
        assert measure_folder(options, Context(active())) == (None if rank else alone)
    monkeypatch.setattr(of_folder, "measure_folder", lambda *_arguments, **_options: None)
    assert call("features", "--data", f"{pictures}", "--out", "maps.json")[:2] == (0, "")
    assert list(Path.cwd().glob("maps*")) == []


def test_counts_alone_have_quantiles_and_neither_spectrum_nor_channels(pictures: Path) -> None:
    result = measure_folder(
        request(pictures, samples=None, modules="leaves", calls="keep", images=4), Context(active())
    )
    assert result is not None
    assert {"layer1.0.relu#0", "layer1.0.relu#1"} <= set(result["modules"])
    assert "eigenvalues" not in result["modules"]["conv1#0"]
    assert result["modules"]["conv1#0"]["activations"].keys() == {"quantiles", "powers_of_two"}
    assert re.search(r"\nconv1#0 .* -         -$", to_text(result), re.MULTILINE)
    assert list(result["modules"])[:4] == ["conv1#0", "bn1#0", "relu#0", "maxpool#0"]


def test_a_module_without_a_finite_value_has_counts_alone(pictures: Path, tmp_path: Path) -> None:
    state = models.build("resnet18", 1000, 0).state_dict()
    # Finite for a grey image, beyond float32 for every window of others.
    state["conv1.weight"].fill_(3e38)
    torch.save(state, tmp_path / "w.pth")
    options = request(pictures, samples=None, modules="conv1", images=4, weights=str(tmp_path / "w.pth"))
    result = measure_folder(options, Context(active()))
    assert result is not None
    assert result["modules"]["conv1"]["non_finite"] == result["modules"]["conv1"]["values"]
    assert "activations" not in result["modules"]["conv1"]
    assert to_text(result).splitlines()[1].split()[2:] == 5 * ["-"]
    assert next(csv.DictReader(to_csv(result).splitlines()))["quantile_0.5"] == ""


def test_modules_are_named_listed_or_matched() -> None:
    assert parse_modules("conv1, fc") == ["conv1", "fc"]
    assert parse_modules("leaves") == "leaves"
    assert getattr(parse_modules("/layer1.*/"), "pattern", None) == "layer1.*"
    assert parse_modules("//") == ["//"]
    with pytest.raises(ValueError, match="is not a regular expression"):
        parse_modules("/(/")
    with pytest.raises(ValueError, match="modules is 'conv1,'; it must be NAME,NAME or leaves"):
        parse_modules("conv1,")


def test_an_unknown_module_and_too_few_images_are_refused(pictures: Path) -> None:
    with pytest.raises(ValueError, match="no module named"):
        measure_folder(request(pictures, modules="conv9"), Context(active()))
    with pytest.raises(ValueError, match="1 requested; at least 2"):
        measure_folder(request(pictures, images=1), Context(active()))


def run_out_of_memory() -> None:
    raise MemoryError


@pytest.mark.parametrize("samples", ["images", pytest.param("positions", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("stop", "error", "saved_images"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGINT), KeyboardInterrupt, "48"),
        pytest.param(
            lambda: os.kill(os.getpid(), signal.SIGTERM), KeyboardInterrupt, "48", marks=pytest.mark.slow, id="SIGTERM"
        ),
        pytest.param(run_out_of_memory, MemoryError, "32", marks=pytest.mark.slow, id="any-error"),
    ],
    ids=["Ctrl-C", None, None],
)
def test_an_interrupted_measurement_continues_to_the_same_bits(
    pictures: Path,
    tmp_path: Path,
    samples: str,
    stop: Callable[[], object],
    error: type[BaseException],
    saved_images: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pictures = Path(shutil.copytree(pictures, tmp_path / "copy"))
    options = request(pictures, modules="conv1,layer2.1.conv1", samples=samples)
    expected = measure_folder(options, Context(active()))
    out, part = tmp_path / "new" / "result.json", tmp_path / "new" / "result.0of1.part"
    # While the third batch of 16 images is measured; what raises at once leaves what was saved last.
    batches = itertools.count(1)
    progress = Watched(step=lambda *_: stop() if next(batches) == 3 else None)
    monkeypatch.setattr(of_folder, "SECONDS_BETWEEN_SAVES", 0 if error is MemoryError else 300)
    with pytest.raises(error):
        measure_folder(options, Context(active(), progress), out=out)
    assert metadata_of(part.read_bytes())["images"] == saved_images
    assert measure_folder(options, Context(active()), out=out, resume=True) == expected
    # It stays until the result is written, and is all that is needed for it.
    for file in pictures.iterdir():
        status = file.stat()
        file.write_bytes(bytes(status.st_size))
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert measure_folder(options, Context(active()), out=out, resume=True) == expected
    remove_partial_results(out)
    assert not part.exists()


def interrupt(options: Request, out: Path) -> Path:
    """Return the file of partial results that is left after image 40 could not be read."""
    file = sorted(Path(options.data).iterdir())[39]
    content = file.read_bytes()
    file.write_bytes(b"no image")
    with pytest.raises(ValueError, match="32 images are saved, and --resume continues after them"):
        measure_folder(options, Context(active()), out=out)
    file.write_bytes(content)
    return out.with_suffix(".0of1.part")


def test_a_partial_result_is_neither_overwritten_nor_continued_by_another_measurement(
    pictures: Path, tmp_path: Path
) -> None:
    options, out = request(pictures, modules="conv1"), tmp_path / "result.json"
    part = interrupt(options, out)
    content = part.read_bytes()
    with pytest.raises(
        ValueError, match=r"result.0of1.part is the partial result of an interrupted call; continue it with --resume"
    ):
        measure_folder(options, Context(active()), out=out)
    with pytest.raises(ValueError, match=r"another configuration: batch_size 8 \(recorded: 16\); precision 'exact'"):
        measure_folder(replace(options, batch_size=8, precision="exact"), Context(active()), out=out, resume=True)
    part.rename(tmp_path / "result.1of2.part")
    with pytest.raises(ValueError, match=r"result.1of2.part is from another number of processes"):
        measure_folder(options, Context(active()), out=out, resume=True)
    (tmp_path / "result.1of2.part").rename(part)
    assert part.read_bytes() == content


def test_a_corrupt_partial_result_is_refused(pictures: Path, tmp_path: Path) -> None:
    options, out = request(pictures, modules="conv1"), tmp_path / "result.json"
    part = interrupt(options, out)
    content = part.read_bytes()
    flipped = [content[:place] + bytes([content[place] ^ 1]) + content[place:][1:] for place in (9, -2000, -1)]
    for data in (*flipped, safetensors.torch.save({"weight": torch.ones(2)})):
        part.write_bytes(data)
        with pytest.raises(ValueError, match=r"result.0of1.part is corrupt or not a partial result"):
            measure_folder(options, Context(active()), out=out, resume=True)


def test_a_partial_result_that_is_sealed_and_holds_no_statistics_is_refused(pictures: Path, tmp_path: Path) -> None:
    options, out = request(pictures, modules="conv1"), tmp_path / "result.json"
    part = interrupt(options, out)
    metadata = metadata_of(part.read_bytes())
    for forged, words in ((metadata | {"images": "many"}, "is corrupt"), (metadata, "holds no statistics")):
        state = {"metadata": torch.tensor(list(b"[]"), dtype=torch.uint8)}
        sealed = (forged["images"], forged["files_sha256"], forged["identity"], tensors_sha256(state))
        forged["sha256"] = hashlib.sha256("\n".join(sealed).encode()).hexdigest()
        part.write_bytes(safetensors.torch.save(state, forged))
        with pytest.raises(ValueError, match=rf"result\.0of1\.part {words}"):
            measure_folder(options, Context(active()), out=out, resume=True)


def test_an_image_that_is_left_to_measure_can_be_removed_and_one_that_was_measured_cannot_change(
    pictures: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(pictures, tmp_path / "copy"))
    options, out = request(copy, modules="conv1"), tmp_path / "result.json"
    interrupt(options, out)
    (copy / "039.png").unlink()
    assert measure_folder(options, Context(active()), out=out, resume=True) == measure_folder(
        options, Context(active())
    )
    remove_partial_results(out)
    interrupt(options, out)
    (copy / "003.png").write_bytes((copy / "004.png").read_bytes())
    with pytest.raises(ValueError, match=r"the 32 images of .*result.0of1.part are no longer the first of the sample"):
        measure_folder(options, Context(active()), out=out, resume=True)


def test_a_place_where_nothing_can_be_written_is_refused_before_anything_is_measured(
    pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "folder").mkdir()
    (tmp_path / "chart.png").mkdir()
    unreadable = tmp_path / "unreadable"
    unreadable.mkdir()
    for file in pictures.rglob("*.png"):
        (unreadable / file.name).write_text("no image")
    for result in (None, tmp_path / "result.json"):
        with pytest.raises(ValueError, match="not a readable image") as caught:
            measure_folder(request(unreadable), Context(active()), out=result)
        assert "--resume" not in str(caught.value)
    for out, message in (
        ("file/result.json", r"result.0of1.trial cannot be written to .*file .*; --out takes FILE.json"),
        ("folder", r"folder is a folder; --out takes FILE.json"),
        ("chart.json", r"chart.png is a folder; --out takes FILE.json"),
        (f"{'long' * 61}.json", r"cannot be written to .*; --out takes FILE.json"),
    ):
        with pytest.raises(ValueError, match=message):
            measure_folder(request(unreadable), Context(active()), out=tmp_path / out)


def test_two_commands_do_not_measure_for_one_result(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    with (
        held_by_another_process(out),
        pytest.raises(ValueError, match=f"another process works on {re.escape(str(out))}"),
    ):
        measure_folder(request(pictures, images=2), Context(active()), out=out)
    measure_folder(request(pictures, images=2), Context(active()), out=out)


def test_files_stand_beside_the_name_that_was_given() -> None:
    names = [with_ending(Path("a") / name, ".csv").name for name in ("result.json", "result", "run.layer1")]
    assert names == ["result.csv", "result.csv", "run.layer1.csv"]


def test_only_the_partial_results_of_the_result_itself_are_removed(tmp_path: Path) -> None:
    for name in ("run.0of2.part", "run.1of2.part", "run.1.0of1.part", "run.of.0of1.part", "running.0of1.part"):
        (tmp_path / name).touch()
    remove_partial_results(tmp_path / "run.json")
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "run.1.0of1.part",
        "run.of.0of1.part",
        "running.0of1.part",
    ]


def test_a_result_names_its_folder_and_its_weights_and_not_where_they_lie(tmp_path: Path) -> None:
    made = folder_result(request(tmp_path / "photos", weights=str(tmp_path / "mine.pth")), {}, [])
    assert (made["request"]["data"], made["request"]["weights"]) == ("photos", "mine.pth")


AXES = ("--model", "convnext_tiny", "--modules", "features.1.0.block.1,features.1.0.block.4", "--channel-axis")


def test_the_command_line_takes_axes_of_channels_and_the_result_names_them(
    pictures: Path, tmp_path: Path, call: Call
) -> None:
    out = tmp_path / "maps.json"
    words = ("features", "--data", f"{pictures}", "--out", f"{out}", "--weights", "none", "--images", "4")
    small = (*words, "--image-size", "32", *AXES)
    code, _, errors = call(*small, "features.1.0.block.4=3", "--channel-axis", "features.1.0.block.1=3")
    assert code == 0, errors
    content = json.loads(out.read_text())
    assert content["request"]["channel_axis"] == {"features.1.0.block.4": 3, "features.1.0.block.1": 3}
    assert {name: module["channels"] for name, module in content["modules"].items()} == {
        "features.1.0.block.1": 96,
        "features.1.0.block.4": 384,
    }
    refused(call, (*small, "features.1.0.block.4=1"), "features.1.0.block.4", "384 channels on axis 3", "it must be 3")
    for option, valid in (("features.1.0.block.4", "NAME=AXIS"), ("a=0", "axis from 1"), ("a=1", "the modules are")):
        refused(call, (*small, option), option.partition("=")[0], valid)
    refused(call, (*small, "a=1", "--channel-axis", "a=2"), "a=2", "once")
