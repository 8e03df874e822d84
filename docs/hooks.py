"""What mkdocs makes of this checkout: README is the home page, reports are pages, and links hold on the site too."""

from __future__ import annotations

import os
import posixpath
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
HOME = {"README.md": "index.md"}
RUN = "first-difference.md"  # whose commands run here
GALLERY = "gallery.md"  # whose lines draw pictures here
LINK = re.compile(r"\[([^\]\[]*)\]\(([^)\s#:]+)(#[^)\s]*)?\)")
CODE = re.compile(r"<code.*?</code>", re.DOTALL)
OPTION = re.compile(r"(?<=[\s>])--?[a-zA-Z][\w-]*")
SUFFIXES = (".md", ".png", ".svg", ".json", ".toml", ".csv")
# Those of this project, and none that a run in this checkout wrote.
REPORTS = (
    *("bench", "ablation", "ablation-course", "course", "photographs", "photographs-head"),
    *("experiment", "feature-maps", "labels", "training-images", "published", "published.md"),
)


IPYTHON = tempfile.TemporaryDirectory()  # settings of the kernels that execute the notebooks


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Let commands in notebooks print plain lines, and an error of theirs end the build."""
    from tests.docs.scripts import START_KERNEL

    startup = Path(IPYTHON.name) / "profile_default" / "startup"
    startup.mkdir(parents=True, exist_ok=True)
    (startup / "commands.py").write_text(START_KERNEL, encoding="utf-8")
    os.environ["IPYTHONDIR"] = IPYTHON.name
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what lies beside docs/: README, the guide for contributors, the changelog and the reports."""
    added = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    for name in REPORTS:
        added += [ROOT / "reports" / name, *sorted((ROOT / "reports" / name).rglob("*"))]
    for file in added:
        if file.suffix not in SUFFIXES or not file.is_file():
            continue
        name = file.relative_to(ROOT).as_posix()
        files.append(File.generated(config, HOME.get(name, name), abs_src_path=f"{file}"))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links between files of the checkout into links between pages; links to other files become text.

    The output of the commands on the page of `diff`, and the pictures of the gallery, are made by the machine that
    builds the site.
    """
    if page.file.src_uri == RUN:
        from tests.docs.first_difference import renew

        with tempfile.TemporaryDirectory() as folder:
            markdown = renew(markdown, Path(folder))
    if page.file.src_uri == GALLERY:
        from tests.docs import gallery

        with tempfile.TemporaryDirectory() as folder:
            for mark, picture in gallery.draw(markdown, Path(folder)).items():
                files.append(File.generated(config, gallery.address(mark), content=picture))
        markdown = gallery.place(markdown)
    here = Path(page.file.abs_src_path or "").relative_to(ROOT).parent.as_posix()

    def on_the_site(link: re.Match[str]) -> str:
        text, target, anchor = link.group(1), link.group(2), link.group(3) or ""
        place = posixpath.normpath(posixpath.join(here, target))
        uri = HOME.get(place, place.removeprefix("docs/"))
        if files.get_file_from_path(uri) is None and not place.startswith("docs/"):
            return text
        return f"[{text}]({posixpath.relpath(uri, posixpath.dirname(page.file.src_uri) or '.')}{anchor})"

    return LINK.sub(on_the_site, markdown)


# mkdocs gives all four by name.
def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Keep each option of a command on one line, and make links of notebooks, which mkdocs leaves alone, lead to pages.

    A browser breaks lines after hyphens.
    """
    if page.file.src_uri.endswith(".ipynb"):
        from tests.docs.site import link_pages

        html = link_pages(html)
    return CODE.sub(lambda code: OPTION.sub(r'<span class="option">\g<0></span>', code.group()), html)
