"""Statistics of a folder from the command line: files, refusals, and one result for any number of processes."""

import csv
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from numpy.typing import NDArray
from PIL import Image

from in4310repro import models
from in4310repro.data.images import decode, normalised
from in4310repro.features import folder
from in4310repro.features.folder import Request, chosen, measure
from in4310repro.features.part import beside
from in4310repro.numerics import Numerics
from in4310repro.runs import notes_of

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
    return Request(**settings | changes)  # type: ignore[arg-type]


def test_shares_and_eigenvalues_are_those_of_the_maps(pictures: Path) -> None:
    found = measure(request(pictures, precision="exact", modules="conv1"))
    assert found is not None
    model = models.build("resnet18", 1000, 0).eval()
    pixels = np.stack([decode(file, 32) for file in sorted(pictures.iterdir())])
    with torch.no_grad():
        maps = model.conv1(normalised(pixels)).double().numpy()  # type: ignore[operator]
    ours = found["modules"]["conv1"]
    assert ours["non_positive"] == pytest.approx((maps <= 0).mean(), abs=1e-5)
    oracle = np.linalg.eigvalsh(np.cov(maps.mean(axis=(2, 3)), rowvar=False, bias=True))[::-1][:15]
    np.testing.assert_allclose(ours["eigenvalues"], oracle, rtol=0, atol=1e-5 * oracle[0])
    assert ours["images"] == IMAGES


def command(pictures: Path, out: Path, *launcher: str) -> None:
    words = ["features", "--data", str(pictures), "--weights", "none", "--image-size", "32", "--images", str(IMAGES)]
    words += ["--modules", "conv1,layer2.1.conv1", "--samples", "positions", "--numerics", "auto", "--device", "cpu"]
    words += ["--out", str(out)]
    subprocess.run(
        [sys.executable, *launcher, "-m", "in4310repro", *words], check=True, capture_output=True, env=dict(os.environ)
    )


def test_two_processes_under_torchrun_write_the_bits_of_one(pictures: Path, tmp_path: Path, numerics: Numerics) -> None:
    torch.set_num_threads(numerics.threads)
    one = measure(request(pictures, modules="conv1,layer2.1.conv1", samples="positions"))
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


def test_counts_alone_have_no_spectrum(pictures: Path) -> None:
    found = measure(request(pictures, samples=None, modules="leaves", calls="keep", images=4))
    assert found is not None
    assert {"layer1.0.relu#0", "layer1.0.relu#1"} <= set(found["modules"])
    assert "eigenvalues" not in found["modules"]["conv1#0"]
    assert list(found["modules"])[:4] == ["conv1#0", "bn1#0", "relu#0", "maxpool#0"]


def test_modules_are_named_listed_or_matched() -> None:
    assert chosen("conv1, fc") == ["conv1", "fc"]
    assert chosen("leaves") == "leaves"
    assert getattr(chosen("/layer1.*/"), "pattern", None) == "layer1.*"
    with pytest.raises(ValueError, match="is no pattern"):
        chosen("/(/")
    with pytest.raises(ValueError, match="modules is 'conv1,'; NAME,NAME or leaves"):
        chosen("conv1,")


def test_an_unknown_module_and_too_few_images_are_refused(pictures: Path) -> None:
    with pytest.raises(ValueError, match="no module named"):
        measure(request(pictures, modules="conv9"))
    with pytest.raises(ValueError, match="1 asked for; at least 2"):
        measure(request(pictures, images=1))


def stopping_at(number: int, stop: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Something happens while an image is read."""
    read = itertools.count(1)

    def reading(file: Path, side: int) -> NDArray[np.uint8]:
        if next(read) == number:
            stop()
        return decode(file, side)

    monkeypatch.setattr(folder, "decode", reading)


def fail(error: type[Exception]) -> None:
    raise error("000.png is not a readable image")


@pytest.mark.parametrize("samples", ["images", "positions"])
@pytest.mark.parametrize(
    ("stop", "error", "kept"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGINT), KeyboardInterrupt, "48"),
        (lambda: os.kill(os.getpid(), signal.SIGTERM), KeyboardInterrupt, "48"),
        (lambda: fail(ValueError), ValueError, "32"),
        (lambda: fail(MemoryError), MemoryError, "32"),
    ],
    ids=["Ctrl-C", "SIGTERM", "no image", "any error"],
)
def test_a_measurement_that_was_cut_goes_on_to_the_same_bits(
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    samples: str,
    stop: Callable[[], object],
    error: type[BaseException],
    kept: str,
) -> None:
    asked = request(pictures, modules="conv1,layer2.1.conv1", samples=samples)
    whole = measure(asked)
    out, part = tmp_path / "new" / "found.json", tmp_path / "new" / "found.0of1.part"
    monkeypatch.setattr(folder, "SECONDS_BETWEEN_PARTS", 0.0)
    stopping_at(40, stop, monkeypatch)
    with pytest.raises(error):
        measure(asked, out=out)
    assert notes_of(part.read_bytes())["images"] == kept
    monkeypatch.setattr(folder, "decode", decode)
    assert measure(asked, out=out, resume=True) == whole
    # It stays until the result is written, and is all that is needed for it.
    monkeypatch.setattr(folder, "decode", None)
    assert measure(asked, out=out, resume=True) == whole
    folder.finish(out)
    assert not part.exists()


def cut(asked: Request, out: Path) -> Path:
    """The part that is left when image 40 cannot be read."""
    with pytest.MonkeyPatch.context() as patched:
        stopping_at(40, lambda: fail(ValueError), patched)
        with pytest.raises(ValueError, match="32 images are kept, and --resume goes on then"):
            measure(asked, out=out)
    return out.with_suffix(".0of1.part")


def test_what_was_measured_is_neither_lost_nor_mixed_with_something_else(pictures: Path, tmp_path: Path) -> None:
    asked, out = request(pictures), tmp_path / "found.json"
    part = cut(asked, out)
    held = part.read_bytes()
    with pytest.raises(ValueError, match=r"found.0of1.part is what an interrupted call measured; --resume goes on"):
        measure(asked, out=out)
    with pytest.raises(ValueError, match=r"another configuration: batch_size 8 \(recorded: 16\); precision 'exact'"):
        measure(request(pictures, batch_size=8, precision="exact"), out=out, resume=True)
    part.rename(tmp_path / "found.1of2.part")
    with pytest.raises(ValueError, match=r"found.1of2.part is of another number of processes"):
        measure(asked, out=out, resume=True)
    (tmp_path / "found.1of2.part").rename(part)
    assert part.read_bytes() == held


@pytest.mark.parametrize("place", [9, -2000, -1])
def test_a_damaged_part_is_refused(pictures: Path, tmp_path: Path, place: int) -> None:
    asked, out = request(pictures), tmp_path / "found.json"
    part = cut(asked, out)
    data = bytearray(part.read_bytes())
    data[place] ^= 1
    part.write_bytes(data)
    with pytest.raises(ValueError, match=r"found.0of1.part is damaged"):
        measure(asked, out=out, resume=True)
    part.write_bytes(safetensors.torch.save({"weight": torch.ones(2)}))
    with pytest.raises(ValueError, match=r"found.0of1.part is damaged, or no part of a measurement"):
        measure(asked, out=out, resume=True)


def test_an_image_that_is_left_to_measure_can_be_removed_and_one_that_was_measured_cannot_change(
    pictures: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(pictures, tmp_path / "copy"))
    asked, out = request(copy), tmp_path / "found.json"
    cut(asked, out)
    (copy / "039.png").unlink()
    found = measure(asked, out=out, resume=True)
    assert found == measure(asked)
    folder.finish(out)
    cut(asked, out)
    (copy / "003.png").write_bytes((copy / "004.png").read_bytes())
    with pytest.raises(
        ValueError, match=r"the 32 images of .*found.0of1.part are not the first of the sample any more"
    ):
        measure(asked, out=out, resume=True)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("file/found.json", r"file does not take found.0of1.trial .*; --out takes FILE.json"),
        ("folder", r"folder is a folder; --out takes FILE.json"),
        ("chart.json", r"chart.png is a folder; --out takes FILE.json"),
        (f"{'long' * 61}.json", r"does not take .*; --out takes FILE.json"),
    ],
)
def test_a_place_where_nothing_can_be_written_is_refused_before_anything_is_measured(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str, message: str
) -> None:
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "folder").mkdir()
    (tmp_path / "chart.png").mkdir()
    monkeypatch.setattr(folder, "decode", None)
    with pytest.raises(ValueError, match=message):
        measure(request(pictures), out=tmp_path / out)


def test_two_calls_do_not_measure_for_one_result(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    measure(request(pictures, images=2), out=out)
    command = ["features", "--data", str(pictures), "--weights", "none", "--image-size", "32", "--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-m", "in4310repro", *command, "--resume"], capture_output=True, text=True, check=False
    )
    assert f"another process works on {out}" in done.stderr


def test_files_stand_beside_the_name_that_was_given() -> None:
    names = [beside(Path("a") / name, ".csv").name for name in ("found.json", "found", "run.layer1")]
    assert names == ["found.csv", "found.csv", "run.layer1.csv"]


def test_a_finished_result_removes_its_own_parts_alone(tmp_path: Path) -> None:
    for name in ("run.0of2.part", "run.1of2.part", "run.1.0of1.part", "run.of.0of1.part", "running.0of1.part"):
        (tmp_path / name).touch()
    folder.finish(tmp_path / "run.json")
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "run.1.0of1.part",
        "run.of.0of1.part",
        "running.0of1.part",
    ]
