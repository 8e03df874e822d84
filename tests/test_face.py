"""The names that `import in4310repro` offers, and the command's output on terminals of other encodings."""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, cast

import pytest

import in4310repro


def test_the_version_is_that_of_the_installation_and_costs_no_library() -> None:
    words = (
        "import sys, in4310repro; print(in4310repro.__version__, {'torch', 'numpy', 'torchvision'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", words], check=True, capture_output=True, text=True)
    assert done.stdout.split() == [metadata.version("in4310repro"), "set()"]


def test_what_the_package_does_not_offer_is_an_error_that_says_what_it_does() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'fit'; it has .*train"):
        _ = in4310repro.fit


def test_every_name_of_the_face_is_there_and_none_is_that_of_a_room() -> None:
    rooms = {each.name for each in pkgutil.iter_modules(in4310repro.__path__)}
    for name in in4310repro.__all__:
        assert getattr(in4310repro, name) is not None
        assert name not in rooms
        assert name in dir(in4310repro)


def test_the_examples_of_the_page_on_the_face_run_and_use_every_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[1] / "docs/api/python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "docs/api/python.md", "exec"), names)  # noqa: S102 - our own page
    assert set(in4310repro.__all__) - {"__version__"} <= set(names)


def test_a_context_among_the_other_arguments_is_taken_with_a_warning(finished_run: Path) -> None:
    from in4310repro import Context, evaluate, verify
    from in4310repro.runs.finished import FinishedRun

    run, context = FinishedRun.open(f"{finished_run}"), cast(Any, Context())
    with pytest.warns(DeprecationWarning, match=r"verify\(\.\.\., context=\.\.\.\)"):
        assert verify(finished_run, context).differences == []
    with pytest.warns(DeprecationWarning, match="evaluate"):
        metrics, scores = evaluate(run, context, None)
    assert (metrics["mean_class_accuracy"], len(scores.paths)) == (
        run.metrics["mean_class_accuracy"],
        metrics["images"],
    )


def test_the_docstring_names_pages_and_libraries_that_are_there() -> None:
    said = in4310repro.__doc__ or ""
    for name in re.findall(r"`in4310repro\.([\w.]+)`", said):
        module, _, attribute = f"in4310repro.{name}".rpartition(".")
        try:
            importlib.import_module(f"in4310repro.{name}")
        except ImportError:
            assert hasattr(importlib.import_module(module), attribute), name
    pages = re.findall(r"[\w/-]+\.md", said)
    assert len(pages) > 4
    for page in pages:
        assert (Path(__file__).parents[1] / page).is_file(), page


def version(encoding: str, *words: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    command = [sys.executable, "-m", "in4310repro", *(words or ("--version",))]
    return subprocess.run(command, env=environment, capture_output=True, check=False)


@pytest.mark.process
@pytest.mark.parametrize("encoding", ["utf-8", "utf-7", "latin-1", "ascii", "cp1252", "cp437", "gb18030"])
def test_lines_are_readable_in_an_encoding_that_has_ascii(encoding: str) -> None:
    done = version(encoding)
    assert done.returncode == 0
    assert done.stdout.decode(encoding).split() == ["in4310repro", metadata.version("in4310repro")]
    refused = version(encoding, "caf\u00e9\u6d77")
    assert refused.returncode == 2
    assert refused.stderr.decode(encoding).startswith("in4310repro: no command 'caf")
    assert len(refused.stderr.splitlines()) == 1


@pytest.mark.process
@pytest.mark.parametrize(
    "encoding", ["utf-16", "utf-16-le", "utf-32", "utf-32-be", "utf-16:strict", "cp037", "punycode", "unicode_escape"]
)
def test_an_encoding_without_ascii_is_refused_in_one_line_of_ascii(encoding: str) -> None:
    done = version(encoding)
    assert (done.returncode, done.stdout) == (2, b"")
    (line,) = done.stderr.decode("ascii").splitlines()
    assert f"PYTHONIOENCODING is '{encoding}'" in line
    assert "utf-8" in line
