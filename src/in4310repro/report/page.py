"""Writes a report: the figures and their numbers, a Markdown page, and one self-contained HTML page."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import jinja2

from in4310repro import presets, protocols
from in4310repro.evaluation import data_root
from in4310repro.report import figures, tables
from in4310repro.runs import Run, json_bytes, write_file


def write(run: Run, folder: Path, data: str | None = None, *, photographs: bool = True) -> list[Path]:
    """Writes `report.md`, `index.html`, a PNG and a JSON file for each figure, and `run.json`; returns the two pages.

    Without photographs figure 7 is its table alone, so that the folder can be published where the images may not.

    Raises:
        ValueError: the run is not finished, its features are not measured, or an image is missing.
    """
    config = presets.from_json(run.read_json("config.json"))
    exhibits = tables.exhibits(run)
    root = data_root(config, data)
    pictures: dict[str, bytes] = {}
    for exhibit in exhibits:
        if exhibit.number == 7 and not photographs:
            continue
        figure = figures.draw(exhibit.number, exhibit.numbers, root)
        pictures[exhibit.name] = figures.png(figure)
    made = record(run)
    context = _context(made, config, exhibits) | {"drawn": set(pictures)}
    files = {f"{name}.png": picture for name, picture in pictures.items()}
    files |= {f"{exhibit.name}.json": json_bytes(exhibit.numbers) for exhibit in exhibits}
    files["run.json"] = json_bytes(made)
    files["report.md"] = rendered("report.md.jinja", context).encode()
    embedded = {name: base64.b64encode(picture).decode() for name, picture in pictures.items()}
    files["index.html"] = rendered("index.html.jinja", context | {"pictures": embedded}).encode()
    for old in {*folder.glob("figure*.*")} - {folder / name for name in files}:
        old.unlink()
    for name, content in files.items():
        write_file(folder / name, content)
    return [folder / "report.md", folder / "index.html"]


def record(run: Run) -> dict[str, Any]:
    """What a reader needs to make a run again and to see that it is the same: command, settings, results, hashes."""
    config = presets.from_json(run.read_json("config.json"))
    return {
        "command": f"nox -s train report -- {presets.options(config)}",
        "config": presets.to_json(config),
        "fingerprint": run.read_json("fingerprint.json"),
        "metrics": run.read_json("metrics.json"),
        "files_sha256": run.manifest(),
    }


def _context(made: dict[str, Any], config: presets.Config, exhibits: list[tables.Exhibit]) -> dict[str, Any]:
    metrics = made["metrics"]
    return {
        "config": config,
        "command": made["command"],
        "label": protocols.label(config.protocol),
        "metrics": metrics,
        "original": tables.original(),
        "exhibits": exhibits,
        "departures": tables.departures(config, metrics),
        "fingerprint": made["fingerprint"],
        "test_images": sum(metrics["supports"]["test"].values()),
    }


def rendered(template: str, context: dict[str, Any]) -> str:
    """A page; a name that the template uses and the context lacks is an error."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("in4310repro.report"),
        autoescape=jinja2.select_autoescape(["html", "html.jinja"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(context)
