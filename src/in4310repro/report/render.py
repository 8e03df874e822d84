"""Rendering of templates; inserted values are escaped for HTML or Markdown."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib import resources

import jinja2
from markupsafe import Markup

from in4310repro.system.text import Markdown, cells, code, markdown, verbatim, visible

TEMPLATES = resources.files("in4310repro.report") / "templates"


def render(template: str, context: Mapping[str, object]) -> str:
    """Render a template with its values escaped; raise jinja2.UndefinedError for a name missing from the context."""
    return _environment(template.endswith(".html.jinja")).get_template(template).render(context)


@functools.cache
def _environment(html: bool) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("in4310repro.report"),
        autoescape=jinja2.select_autoescape(["html.jinja"]),
        finalize=_visible_in_html if html else _as_markdown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"cells": cells, "code": code, "verbatim": verbatim, "rule": _rule}
    return environment


def read_asset(name: str) -> str:
    """Return the text of a style or script file of the package."""
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _visible_in_html(value: object) -> object:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _as_markdown(value: object) -> Markdown:
    return value if isinstance(value, Markdown) else markdown(str(value))


def _rule(columns: int) -> Markdown:
    """Return the line of dashes below the heading of a Markdown table, without its first bar."""
    return Markdown(" --- |" * columns)
