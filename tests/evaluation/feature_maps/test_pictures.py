"""Pictures of a run's feature maps: which images and modules, whose values, names of files, and what is refused."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path, PureWindowsPath
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from in4310repro.data.images import normalize
from in4310repro.data.reading import decode
from in4310repro.evaluation.feature_maps.pictures import draw_pictures, maps_of, portable_name, to_png
from in4310repro.runs.deviations import parse
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.context import Context
from in4310repro.system.numerics import Numerics
from tests.builders import Watched
from tests.conftest import Call, active, refused


def draw(run: Path, to: Path, **options: Any) -> dict[str, Any]:
    """Draw pictures of a run, and return the index."""
    draw_pictures(FinishedRun.open(run), to, Context(active()), **options)
    return json.loads((to / "pictures.json").read_text())  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def drawn(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("drawn") / "maps"
    return folder, draw(finished_run, folder)


def test_each_of_the_first_ten_test_images_has_a_file_of_each_measured_module(
    drawn: tuple[Path, dict[str, Any]], finished_run: Path
) -> None:
    folder, index = drawn
    rows = [line.split(",") for line in (finished_run / "split.csv").read_text().splitlines()[1:]]
    paths = [row[0] for row in rows if row[-1] == "test"][:10]
    modules = json.loads((finished_run / "config.json").read_text())["modules"]
    assert [(row["image"], row["module"]) for row in index["pictures"]] == [(p, m) for p in paths for m in modules]
    files = {file.relative_to(folder).as_posix() for file in folder.rglob("*.png")}
    assert files == {row["file"] for row in index["pictures"]}


def test_modules_stand_in_the_order_of_their_names_and_each_image_is_one_step(
    finished_run: Path, tmp_path: Path
) -> None:
    modules, steps, to = ["layer1.0.conv1", "conv1"], list[int](), tmp_path / "maps"
    context = Context(active(), Watched(step=lambda _title, done, _detail: steps.append(done)))
    written = draw_pictures(FinishedRun.open(finished_run), to, context, images=2, modules=",".join(modules))
    rows = json.loads((to / "pictures.json").read_text())["pictures"]
    images = dict.fromkeys(row["image"] for row in rows)
    folders = [f"{n:03}-{image.partition('.')[0].replace('/', '-')}" for n, image in enumerate(images, 1)]
    files = [to / folder / f"{n}-{module}.png" for folder in folders for n, module in enumerate(modules, 1)]
    assert (written, steps[-2:], len(images)) == ([*files, to / "pictures.json"], [1, 1], 2)


def test_pictures_hold_the_values_that_the_selected_network_gives_in_evaluation_mode(
    drawn: tuple[Path, dict[str, Any]], finished_run: Path, numerics: Numerics
) -> None:
    folder, index = drawn
    run = FinishedRun.open(finished_run)
    row = index["pictures"][0]
    network = run.selected_network().eval()
    pixels = decode(run.split_below(None).root / row["image"], run.config.image_size)
    with torch.no_grad():
        maps = numerics.place(network).conv1(normalize(pixels[None]))[0].numpy()  # type: ignore[operator]
    assert row["shape"] == list(maps.shape)
    assert (row["minimum"], row["maximum"]) == pytest.approx((maps.min(), maps.max()), rel=1e-5)
    assert row["non_positive"] == pytest.approx((maps <= 0).mean(), abs=1e-4)
    assert (folder / row["file"]).read_bytes() == to_png(maps)


def test_the_same_run_gives_the_same_bytes_in_another_process(
    drawn: tuple[Path, dict[str, Any]], finished_run: Path, tmp_path: Path
) -> None:
    folder, _ = drawn
    words = ("features", str(finished_run), "--pictures", str(tmp_path / "again"))
    subprocess.run([sys.executable, "-m", "tests.narrow", *words], check=True, capture_output=True)
    for file in folder.rglob("*.*"):
        assert (tmp_path / "again" / file.relative_to(folder)).read_bytes() == file.read_bytes()


def test_all_leaves_are_drawn_except_those_without_maps(finished_run: Path, tmp_path: Path) -> None:
    index = draw(finished_run, tmp_path / "maps", images=1, modules="leaves")
    titles = [row["module"] for row in index["pictures"]]
    assert {"bn1", "avgpool", "layer1.0.relu#0", "layer1.0.relu#1"} <= set(titles)
    assert list(index["not_drawn"]) == ["fc"]
    assert len({row["file"].lower() for row in index["pictures"]}) == len(titles)


class Overwriting(nn.Module):
    """A batch norm whose output is overwritten in place, as torchvision's blocks do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.relu = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True)
        self.eval()
        self.norm.train()

    def forward(self, image: Tensor) -> Tensor:
        return self.relu(self.norm(self.conv(image))).mean(dim=(2, 3))  # type: ignore[no-any-return]


def image_of_noise() -> Tensor:
    return torch.randn(1, 3, 9, 9, generator=torch.Generator().manual_seed(0))


def test_an_output_is_copied_before_the_network_overwrites_it_in_place() -> None:
    model = Overwriting()
    maps = maps_of(model, {"norm": model.norm, "relu": model.relu}, image_of_noise(), {})[0]
    assert (maps["norm"] < 0).any()
    assert not (maps["relu"] < 0).any()
    kept: list[Tensor] = []
    # The wrong twin keeps the output itself.
    handle = model.norm.register_forward_hook(lambda _module, _inputs, output: kept.append(output))
    with torch.no_grad():
        model(image_of_noise())
    handle.remove()
    assert not (kept[0] < 0).any()


def test_modes_hooks_and_buffers_of_a_network_are_as_before() -> None:
    model = Overwriting()
    modes = [module.training for module in model.modules()]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    maps_of(model, {"norm": model.norm}, image_of_noise(), {})
    assert [module.training for module in model.modules()] == modes
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


class ChannelsLast(nn.Module):
    """A convolution whose output has its channels last, and a module that never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last, self.unused = nn.Conv2d(3, 8, 3), nn.Identity(), nn.Identity()

    def forward(self, image: Tensor) -> Tensor:
        return self.last(self.conv(image).permute(0, 2, 3, 1)).mean(dim=(1, 2))  # type: ignore[no-any-return]


def test_a_channel_is_a_tile_where_channels_are_last_too() -> None:
    model = ChannelsLast()
    maps, not_drawn = maps_of(model, dict(model.named_children()), image_of_noise(), {"last": 3})
    assert torch.equal(maps["last"], maps["conv"])
    assert not_drawn == {"unused": "it did not run"}


class Alike(nn.Module):
    """A module whose output has two parts of one printed name."""

    def forward(self, image: Tensor) -> dict[object, Tensor]:
        return {0: image, "0": -image}


def test_maps_of_one_name_are_refused() -> None:
    model = Alike()
    with pytest.raises(ValueError, match=r"^two outputs are named '\[0\]'; a picture needs a name of its own$"):
        maps_of(model, {"": model}, image_of_noise(), {})


@pytest.mark.parametrize("name", ["con", "AUX.b", "a:b?*", "nul.", "../up", "\N{LATIN SMALL LETTER E WITH ACUTE}", ""])
def test_an_image_or_a_module_of_any_name_has_a_file_that_windows_takes(name: str) -> None:
    file = PureWindowsPath(f"1-{portable_name(name)}.png")
    assert len(file.parts) == 1
    assert file.name.isascii()
    assert not set(file.name) & set('<>:"/\\|?*')
    assert not file.name.partition(".")[0].endswith((" ", "."))
    assert file.name.partition(".")[0].upper() not in {"CON", "AUX", "NUL"}


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("--modules", "conv9"), ("no module named ['conv9']", "conv1")),
        (("--modules", "fc"), ("module 'fc' cannot be drawn", "shape (1, 6)", "image x channel x height x width")),
        (("--modules", "/fc/"), ("none of the modules ['fc'] can be drawn",)),
        (("--images", "0"), ("0 images were requested; at least 1",)),
        (("--batch-size", "4"), ("--batch-size cannot be used with --pictures; a run takes", "--modules")),
        (("--out", "x.json"), ("--out cannot be used with --pictures",)),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else None,
)
def test_what_cannot_be_drawn_is_refused_and_leaves_no_file(
    words: tuple[str, ...], parts: tuple[str, ...], call: Call, finished_run: Path, tmp_path: Path
) -> None:
    refused(call, ("features", str(finished_run), "--pictures", "maps", *words), *parts)
    assert not (tmp_path / "maps").exists()


def test_the_command_names_its_index_and_counts_its_pictures(call: Call, finished_run: Path) -> None:
    words = ("features", str(finished_run), "--pictures", "maps", "--images", "2", "--modules", "conv1", "--json")
    code, printed, _ = call(*words)
    assert (code, json.loads(printed)) == (0, {"wrote": [str(Path("maps", "pictures.json"))], "pictures": 2})


def test_a_folder_with_files_is_refused(call: Call, finished_run: Path, tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "mine.txt").write_text("mine")
    words = ("features", str(finished_run), "--pictures", "maps")
    refused(call, words, "maps is not an empty folder; --pictures takes a new or empty one")
    (tmp_path / "file").write_text("mine")
    refused(call, ("features", str(finished_run), "--pictures", "file"), "file is not an empty folder")
    refused(call, ("features", str(finished_run), "--pictures", "file/maps"), "file")
    assert [file.name for file in (tmp_path / "maps").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("--pictures", "maps"), "give a run and --pictures FOLDER"),
        (("RUN",), "give a run and --pictures FOLDER; the statistics of a run"),
        (("--out", "maps.json"), "--data is missing; give --data FOLDER and --out FILE.json"),
        (("--data", "photos"), "--out is missing"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else None,
)
def test_a_call_without_its_images_or_its_result_says_what_is_missing(
    words: tuple[str, ...], part: str, call: Call, finished_run: Path, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    refused(call, ("features", *(str(finished_run) if word == "RUN" else word for word in words)), part)


def test_a_run_with_a_deviation_has_pictures_with_its_label(finished_run: Path, tmp_path: Path) -> None:
    run = FinishedRun.open(finished_run)
    labels = []
    for name in ("corrected", "ap-from-logits"):
        changed = replace(run, config=replace(run.config, protocol=parse(name)))
        draw_pictures(changed, tmp_path / name, Context(active()), images=1, modules="conv1")
        labels.append(json.loads((tmp_path / name / "pictures.json").read_text()).get("label"))
    assert labels == [None, "DEVIATION: average precision ranks logits instead of softmax scores"]
