"""The check of a built site for addresses that a browser would load from elsewhere."""

from pathlib import Path

import pytest

from tests.docs.site import find_faults, find_loads

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
