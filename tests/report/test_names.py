"""A data set with hostile names in training, report and ablation: names stay text, private names are hidden.

The commands are those of nox's own sessions, with one TOML file for both.
"""

from __future__ import annotations

import contextlib
import io
import json
import platform
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree

import noxfile
import pytest
from markdown_it import MarkdownIt
from PIL import Image

from in4310repro import cli, models
from in4310repro.cli import application
from in4310repro.report import markup
from in4310repro.report.markup import read_asset
from in4310repro.system.files import read_json
from in4310repro.system.tensors import tensor_bytes
from in4310repro.system.text import visible
from studies import commands
from tests.builders import AS_IMAGENET, write_class_folders, write_images
from tests.report.reading import Page

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long(15),
    pytest.mark.skipif(sys.platform == "win32", reason="it has no such names"),
]

CLASSES = (
    *("a|b", "<img src=x onerror=alert(1)>", "[x](javascript:alert(1))", "`code`", "$x$", "# a"),
    *("[red]x", "  lead ", "\u6d77\U0001f30a", ":skull:", "W" * 100, "don't; touch x", "---", "||"),
)
FOLDER = "my photos; touch x"
USER = "ada-lovelace"
SETTINGS = """
modules = ["conv1", "layer1.0.relu", "fc"]
feature_images = 4
[[settings]]
name = "_mine"
optimizer = "SGD"
learning_rate = 1
[[settings]]
name = "\u6d77"
optimizer = "AdamW"
"""


@dataclass
class Session:
    """A stand-in for nox's session; commands run in this process."""

    posargs: Sequence[str]

    def run(self, *words: str, silent: bool = False, **_limits: object) -> str | bool:
        interpreter, option, program, *arguments = words
        assert (interpreter, option) == (sys.executable, "-m")
        run = {"in4310repro": cli.main, "studies.commands": commands.main}[program]
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as printed:
            # Commands of studies put theirs into its place.
            patch.setattr(application, "app", application.app)
            with pytest.raises(SystemExit) as ended:
                run(arguments)
        assert not ended.value.code
        return printed.getvalue() if silent else True


@dataclass(frozen=True)
class Published:
    """Folders of a made-up user: the home, the run and its reports."""

    home: Path
    run: Path

    @property
    def reports(self) -> Path:
        return self.home / "work" / "reports"

    @property
    def report(self) -> Path:
        # The run is named after the folder of the images, without characters that a folder name cannot have.
        (record,) = self.reports.glob("*/run.json")
        return record.parent


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    home = tmp_path_factory.mktemp("machine") / "home" / USER
    place = Published(home, home / "work" / "runs" / "corrected")
    write_class_folders(home / FOLDER, dict.fromkeys(CLASSES, 3))
    for name in ("imagenet", "cifar10"):
        write_images(home / name, *(f"{number}.png" for number in range(3)), size=32)
    weights = models.build("resnet18", 1000, 0).state_dict()
    (home / "weights.safetensors").write_bytes(tensor_bytes(weights))
    place.reports.parent.mkdir()
    (place.reports.parent / "mine.toml").write_text(SETTINGS, encoding="utf-8")
    split = "/".join([str(len(CLASSES))] * 3)
    options = f"--preset tiny --config mine.toml --epochs 1 --split {split}".split()
    for name in ("imagenet", "cifar10"):
        options += [f"--{name}", str(home / name)]
    options += ["--data", str(home / FOLDER), "--weights", str(home / "weights.safetensors"), *AS_IMAGENET.split()]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place.reports.parent)
        patch.setenv("HOME", str(home))
        patch.setenv("USERPROFILE", str(home))
        noxfile.train(Session([*options, "--out", str(place.run)]))
        noxfile.report(Session([*options, "--out", str(place.run)]))
        noxfile.ablation(Session([*options, "--deviations", "padded-denominator", "--runs", "runs"]))
    return place


OWN_FILES = re.compile(r"(figure\d\d\.(svg|json)|run\.json|check\.html)(#[\w/.%~-]*)?")
DRAWN = {"svg", "style", "rect", "text", "line", "path", "circle", "image"}
# The only HTML on a Markdown page.
FOLDED = re.compile(r'<details markdown="1">\n<summary>Table and command</summary>\n|</details>\n')
INLINE = {"text", "softbreak", "code_inline", "strong_open", "strong_close", "image", "link_open", "link_close"}


def read_rows(file: Path) -> list[list[str]]:
    """Return the rows of all tables of a Markdown page, after a check that it links to the report's files only."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(file.read_text(encoding="utf-8"))
    assert all(FOLDED.fullmatch(token.content) for token in tokens if token.type == "html_block")
    rows: list[list[str]] = []
    for token in tokens:
        if token.type == "tr_open":
            rows.append([])
        children = token.children or []
        assert {child.type for child in children} <= INLINE
        targets = [target for child in children for name, target in child.attrs.items() if name in ("src", "href")]
        assert all(OWN_FILES.fullmatch(str(target)) for target in targets)
        if token.type == "inline" and token.level > 3:
            rows[-1].append("".join(child.content for child in children))
    return rows


def test_every_class_is_a_row_of_the_markdown_page_under_its_name(published: Published) -> None:
    rows = read_rows(published.report / "report.md")
    # Figures 1, 2 and 13 have a row for each class; the first two end with a mean.
    first = [row[0] for row in rows if len(row) == 5]
    assert (first.count("class"), first.count("mean")) == (3, 2)
    assert all(first.count(name) == 3 for name in map(visible, CLASSES))


def test_every_class_is_a_cell_of_the_html_page_under_its_name_and_no_tag(published: Published) -> None:
    page = Page(published.report / "index.html")
    assert set(CLASSES) <= {cell for row in page.rows for cell in row}
    assert not page.tags & {"iframe", "object", "form", "image", "use", "foreignobject"}
    assert page.scripts == [read_asset("page.js")]
    assert not page.handlers
    for address in page.addresses:
        assert address.startswith(("data:image/jpeg;base64,", "#")) or OWN_FILES.fullmatch(address)


def test_every_class_is_text_of_its_drawings_under_its_name_or_a_part_of_it(published: Published) -> None:
    for file in published.report.glob("*.svg"):
        root = ElementTree.fromstring(file.read_text(encoding="utf-8"))  # noqa: S314
        assert {element.tag.partition("}")[2] for element in root.iter()} <= DRAWN
    root = ElementTree.parse(published.report / "figure04.svg").getroot()  # noqa: S314
    texts = {element.text for element in root.iter()}
    assert {markup.shorten(name, markup.LONGEST_ABOVE) for name in CLASSES} <= texts
    assert {name for name in CLASSES if name.isascii() and len(name) <= markup.LONGEST_ABOVE} <= texts


def test_settings_and_modules_of_a_file_are_trained_and_reported(published: Published) -> None:
    # The head has a channel for each class, fewer than the eigenvalues shown for a module.
    assert len(read_json(published.report / "figure09.json")["eigenvalues"]["fc"]) == len(CLASSES) == 14
    assert read_json(published.report / "figure06.json")["selected"] in ("_mine", "\u6d77")
    assert list(read_json(published.report / "figure08.json")["ours"]) == ["conv1", "layer1.0.relu", "fc"]
    rows = read_rows(published.reports / "ablation" / "ablation.md")
    assert rows[0] == ["", "corrected", "padded-denominator"]
    assert "_mine, best validation accuracy" in {row[0] for row in rows}


def test_every_setting_stands_in_the_legend(published: Published) -> None:
    text = (published.report / "figure06.svg").read_text(encoding="utf-8")
    assert ">_mine<" in text
    assert ">\u6d77<" in text


def test_the_command_of_a_report_has_each_value_as_one_word(published: Published) -> None:
    words = shlex.split(read_json(published.report / "run.json")["command"])
    assert words[words.index("--data") + 1] == FOLDER
    assert words[words.index("--weights") + 1] == "weights.safetensors"


def test_the_run_itself_keeps_the_paths_that_it_was_made_from(published: Published) -> None:
    assert read_json(published.run / "config.json")["data"] == str(published.home / FOLDER)
    assert read_json(published.report / "run.json")["config"]["data"] == FOLDER
    assert read_json(published.reports / "ablation" / "ablation.json")["config"]["cifar10"] == "cifar10"


def test_no_published_file_names_the_home_the_user_the_host_or_a_path_of_the_machine(published: Published) -> None:
    files = [file for file in published.reports.rglob("*") if file.is_file()]
    # Two settings give fourteen figures; all but one have a drawing.
    assert len(files) == 14 + 13 + 4 + 2
    for file in files:
        assert find_private_parts(file, (USER, str(published.home.parent), str(Path.cwd()))) == []


def test_no_file_that_the_project_publishes_names_a_path_of_a_machine() -> None:
    root = Path(noxfile.__file__).parent
    files = [file for folder in ("reports", "golden", "docs") for file in (root / folder).rglob("*") if file.is_file()]
    # The pages' hooks leave bytecode.
    files = [file for file in files if file.suffix != ".pyc"]
    assert len(files) > 40
    for file in files:
        assert find_private_parts(file, (str(root),)) == []


PLACES = re.compile(r"(?<![\w.])/(home|Users|root|tmp|var|mnt|private|opt|work)/|[A-Z]:\\|file://")
HOST = re.compile(rf"(?<![\w-]){re.escape(platform.node())}(?![\w-])" if len(platform.node()) > 3 else "(?!)")


def find_private_parts(file: Path, names: tuple[str, ...]) -> list[str]:
    """Return the private names, paths and host names that a file contains."""
    data = file.read_bytes()
    if file.suffix == ".png":
        with Image.open(file) as picture:
            assert set(picture.info) <= {"dpi"}
        return [name for name in names if name.encode() in data]
    text = re.sub(r"data:image/jpeg;base64,[\w+/=]+", "", data.decode())
    written = {form for name in names for form in (name, json.dumps(name)[1:-1], quote(name))}
    places = [match.group() for match in PLACES.finditer(text)]
    return [*(form for form in written if form in text), *places, *HOST.findall(text)]
