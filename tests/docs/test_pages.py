"""README and the pages of docs/ are short, do not repeat themselves, and have working links."""

import pkgutil
import re
from pathlib import Path

import pytest

from tests.docs.commands import FENCE, ROOT, list_pages

LINK = re.compile(r"\]\(([^)\s#:]+)(?:#[^)\s]*)?\)")
DOCS = ROOT / "docs"
FILES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(DOCS.rglob("*.md")),
    *DOCS.glob("*.ipynb"),
]
COMMANDS = (
    "python3 -m venv .venv && .venv/bin/pip install -e '.[dev]' && .venv/bin/nox -s train report",
    "python3 -m venv .venv && .venv/bin/pip install -e '.[dev]' && .venv/bin/nox -s tests",
)


def test_the_readme_is_a_screen_and_a_half_and_has_the_two_commands_in_blocks_of_their_own() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 90
    assert [block.strip() for _, block in FENCE.findall(text)][:2] == list(COMMANDS)
    assert text.count("![") <= 2


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.name))
def test_every_link_of_a_page_leads_to_a_file_that_is_there(file: Path) -> None:
    for target in LINK.findall(file.read_text(encoding="utf-8")):
        assert (file.parent / target).exists(), target


def test_every_name_of_the_package_and_every_module_on_a_page_is_there() -> None:
    text = "\n".join(file.read_text(encoding="utf-8") for file in FILES)
    names = {*re.findall(r"(?:^::: |`)(in4310repro(?:\.\w+)+)", text, re.MULTILINE)}
    assert len(names) > 30
    assert all(pkgutil.resolve_name(name) for name in names)
    modules = {*re.findall(r"`((?:\w+/)+\w+\.py)`", text)}
    assert [
        name for name in modules if not ((ROOT / name).exists() or (ROOT / "src/in4310repro" / name).exists())
    ] == []


KINDS = ["Results", "Tutorials", "How-to", "Reference", "Explanation"]


def test_pages_are_sorted_by_what_a_reader_wants() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    assert re.findall(r"^  - (\S+):", navigation, re.MULTILINE) == ["Home", *KINDS]


def test_the_documentation_has_few_pages_and_notebooks() -> None:
    assert len([*DOCS.glob("*.md")]) <= 21
    assert len([*DOCS.glob("*.ipynb")]) <= 3


def test_a_page_begins_with_the_question_that_it_answers() -> None:
    # README begins with what the package is.
    first = {page.name: page.text.split("\n\n")[1] for page in list_pages() if page.name != "README.md"}
    assert [name for name, paragraph in first.items() if "?" not in paragraph] == []


def test_a_word_of_the_glossary_is_used_on_another_page() -> None:
    pages = {page.name: page.text for page in list_pages()}
    words = re.findall(r"^\| ([^|]+) \| ", pages.pop("glossary.md"), re.MULTILINE)[2:]
    assert len(words) > 20
    assert [word for word in words if not any(re.search(rf"\b{word}", text, re.I) for text in pages.values())] == []


def test_the_navigation_has_every_page_of_docs_once() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    listed = re.findall(r": (\S+\.(?:md|ipynb))$", navigation, re.MULTILINE)
    there = [file.relative_to(DOCS).as_posix() for file in FILES if file.is_relative_to(DOCS)]
    assert len(listed) == len({*listed})
    assert {*there, "index.md", "CONTRIBUTING.md", "CHANGELOG.md"} == {
        name for name in listed if not name.startswith("reports/")
    }
    for name in listed:
        assert not name.startswith("reports/") or (ROOT / name).is_file()


def test_no_paragraph_stands_on_two_pages() -> None:
    seen: dict[str, str] = {}
    for page in list_pages():
        for paragraph in page.text.split("\n\n"):
            words = " ".join(paragraph.split())
            if len(words) > 150:
                assert seen.setdefault(words, page.name) == page.name, words


def test_a_notebook_holds_no_outputs() -> None:
    for file in DOCS.glob("*.ipynb"):
        assert '"output_type"' not in file.read_text(encoding="utf-8")
