"""Each format is valid by its community's own validator, which complains about a damaged one."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from in4310repro.export.table import FORMATS
from tests.export.conftest import Export
from tests.export.validators import VALIDATORS, needed


def replace(name: str, pattern: str, by: str) -> Callable[[Path], None]:
    """Return a function that replaces the first match in a file of a folder."""

    def change(folder: Path) -> None:
        text = (folder / name).read_text(encoding="utf-8")
        changed = re.sub(pattern, by, text, count=1, flags=re.DOTALL)
        assert changed != text
        (folder / name).write_text(changed, encoding="utf-8")

    return change


def remove_nodes(folder: Path) -> None:
    (onnx,) = needed("onnx")
    model = onnx.load(str(folder / "model.onnx"))
    del model.graph.node[3]
    onnx.save(model, str(folder / "model.onnx"))


def flip_a_bit(folder: Path) -> None:
    content = bytearray((folder / "bundle.zip").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "bundle.zip").write_bytes(content)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "in-toto": replace("statement.json", r'"digest": \{\s*"sha256": "\w+"\s*\}', '"digest": {}'),
    "ro-crate": replace("ro-crate-metadata.json", r'"datePublished": "[\d-]+",', ""),
    "croissant": replace("croissant.json", r'"column": "sha256"', '"column": "hash"'),
    "model-card": replace("README.md", r"\n *type: drawn scenes", ""),
    "codecheck": replace("codecheck.yml", r"run/scores\.npz", "run/other.npz"),
    "bundle": flip_a_bit,
    "onnx": remove_nodes,
}


def test_every_format_has_a_validator_and_a_damage() -> None:
    assert FORMATS.keys() == VALIDATORS.keys() == DAMAGES.keys()


@pytest.mark.parametrize("name", FORMATS)
def test_an_export_is_valid_by_its_communitys_validator_and_a_damaged_one_is_not(name: str, export: Export) -> None:
    folder = export(name)
    assert VALIDATORS[name](folder) == []
    DAMAGES[name](folder)
    assert VALIDATORS[name](folder) != []
