"""Statistics of a folder from the command line: files, refusals, and one result for any number of processes."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from in4310repro import models
from in4310repro.data.images import decode, normalised
from in4310repro.features.folder import Request, chosen, measure
from in4310repro.numerics import Numerics

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


def test_an_unknown_module_and_too_few_images_are_refused(pictures: Path) -> None:
    with pytest.raises(ValueError, match="no module named"):
        measure(request(pictures, modules="conv9"))
    with pytest.raises(ValueError, match="1 asked for; at least 2"):
        measure(request(pictures, images=1))
