"""The check of a built site for addresses that a browser would load from elsewhere, and for dead links."""

from pathlib import Path

import pytest

from tests.docs.site import find_dead_links, find_faults, find_loads, find_unsaid, link_pages

X = "https://x.org/a"


@pytest.mark.parametrize(
    "page",
    [
        f'<script src="{X}"></script>',
        f'<link rel="stylesheet" href="{X}">',
        f'<link href="{X}" rel="preconnect">',
        f'<img src="{X}">',
        f'<img srcset="{X} 2x">',
        f"<style>@import '{X}';</style>",
        f'<p style="background: url({X})">',
        '<script src="//x.org/a"></script>',
    ],
)
def test_what_a_page_loads_from_elsewhere_is_found(page: str) -> None:
    (address,) = find_loads(page, ".html")
    assert "//x.org/a" in address


@pytest.mark.parametrize(
    "page",
    [f'<a href="{X}">', f'<link rel="canonical" href="{X}">', '<img src="a.png">', f"<p>url({X})</p>", f"<!-- {X} -->"],
)
def test_what_is_only_named_is_not_loaded(page: str) -> None:
    assert find_loads(page, ".html") == []


def test_a_font_of_a_style_sheet_and_a_site_without_pages_are_faults(tmp_path: Path) -> None:
    assert list(find_faults(tmp_path)) == [f"{tmp_path} has no pages"]
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.css").write_text(f"@font-face {{src: url('{X}')}}", encoding="utf-8")
    assert list(find_faults(tmp_path)) == [f"a/x.css loads {X}"]


def test_a_link_to_a_missing_file_a_missing_anchor_or_the_source_of_a_page_is_dead(tmp_path: Path) -> None:
    dead = ["b.html#y", "b.md", "c.html", "#z", "d.ipynb"]
    alive = ["b.html#x%20y", "b.html", "../a", "#", X, "mailto:a@x.org"]
    (tmp_path / "a").mkdir()
    page = "".join(f'<a href="{link}">' for link in (*dead, *alive))
    for name, text in {"a.html": page, "b.html": '<h2 id="x y">', "b.md": "", "d.ipynb": ""}.items():
        (tmp_path / "a" / name).write_text(text, encoding="utf-8")
    assert list(find_dead_links(tmp_path)) == [f"a/a.html has a dead link to {link}" for link in dead]


@pytest.mark.parametrize(
    ("link", "on_the_site"),
    [
        ("export.md#in-toto", "export.html#in-toto"),
        ("hand-in.ipynb", "hand-in.html"),
        ("api/runs.md", "api/runs.html"),
        ("a.json", "a.json"),
        ("https://x.org/a.md", "https://x.org/a.md"),
    ],
)
def test_a_link_of_a_notebook_leads_to_a_page_of_the_site(link: str, on_the_site: str) -> None:
    assert link_pages(f'<a href="{link}">') == f'<a href="{on_the_site}">'


def test_a_page_whose_notebook_did_not_print_its_line_is_named(tmp_path: Path) -> None:
    said = (
        "<pre>bundle.zip: <b>verified</b>, no\ndifference\nmean_class_accuracy is 0.9882; computed again it is {}</pre>"
    )
    (tmp_path / "hand-in.html").write_text(said.format("0.5"), encoding="utf-8")
    assert list(find_unsaid(tmp_path)) == []
    (tmp_path / "hand-in.html").write_text(said.format("nothing"), encoding="utf-8")
    (line,) = find_unsaid(tmp_path)
    assert line.startswith("hand-in.html does not print mean_class_accuracy is ")
