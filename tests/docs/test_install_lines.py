"""Every `pip install` on a page, in a message or in a hint works in a cloned repository."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import pytest

from in4310repro.system import machine
from tests.docs.commands import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
FILES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "noxfile.py", "pyproject.toml", "setup.py")),
    *(file for suffix in ("md", "ipynb") for file in (ROOT / "docs").rglob(f"*.{suffix}")),
    *(file for suffix in ("py", "jinja", "toml") for file in (ROOT / "src" / "in4310repro").rglob(f"*.{suffix}")),
]
# After `pip install`, as far as a line goes on with what is installed.
INSTALLED = re.compile(r"pip install((?: -[-\w]+)*(?: (?:'?\.(?:\[\w+\])?'?|[\w.-]+(?:\[\w+\])?|'[^']*'))*)")


def read_name(requirement: str) -> str:
    return re.split(r"[<>=\[]", requirement, maxsplit=1)[0]


KNOWN = {read_name(each) for listed in (PROJECT["dependencies"], *EXTRAS.values()) for each in listed}
KNOWN |= {requirement for requirement, _ in machine.PACKAGES.values()}


def find_faults(text: str) -> list[str]:
    """Return the install commands of a text that fail in a cloned repository."""
    wrong = []
    for match in INSTALLED.finditer(text):
        words = match.group(1).split()
        if "in4310repro" in match.group(1):
            wrong.append(match.group())
        for extra in re.findall(r"\.\[(\w+)\]", match.group(1)):
            wrong += [] if extra in EXTRAS or extra == "NAME" else [match.group()]
        if words and not words[0].startswith(("-", ".", "'")) and words[0] not in KNOWN:
            wrong.append(match.group())
    return wrong


@pytest.mark.parametrize(
    "line",
    [
        "pip install 'in4310repro[photographs]'",
        "pip install in4310repro",
        "pip install -e '.[photos]'",
        "needs timm: pip install tim",
    ],
)
def test_a_line_that_fails_in_a_clone_is_found(line: str) -> None:
    assert find_faults(line)


def test_every_line_that_installs_something_works_in_a_clone() -> None:
    wrong = {
        f"{file.relative_to(ROOT)}: {each}" for file in FILES for each in find_faults(file.read_text(encoding="utf-8"))
    }
    assert wrong == set()
    assert sum("pip install" in file.read_text(encoding="utf-8") for file in FILES) > 8


def test_the_page_on_installing_has_every_extra_with_what_it_is_for() -> None:
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| .* \| `pip install -e '\.\[(\w+)\]'` \| .+ \|$", page, re.MULTILINE)
    assert sorted(rows) == sorted(EXTRAS)


def test_each_optional_package_is_installed_by_a_name_that_an_extra_or_pypi_has() -> None:
    for module, (requirement, purpose) in machine.PACKAGES.items():
        command = machine.install_command(module)
        assert command.endswith(f"pip install {requirement}")
        assert not find_faults(command)
        assert purpose


def test_pip_is_called_so_that_it_installs_into_the_environment_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "clone" / ".venv" / "bin" / "python"
    monkeypatch.setenv("PATH", f"{python.parent}")
    python.parent.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert machine.install_command("timm", f"{python}") == f"{Path('clone/.venv/bin/python')} -m pip install timm"
    pip = python.with_name("pip.exe" if os.name == "nt" else "pip")
    pip.touch()
    pip.chmod(0o755)
    assert machine.install_command("timm", f"{python}") == "pip install timm"
    other = f"{tmp_path / 'my venv' / 'python'}"
    monkeypatch.chdir(python.parent)
    assert machine.install_command("timm", other) == f'"{other}" -m pip install timm'
