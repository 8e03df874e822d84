"""The commands on docs/first-difference.md, run here: python -m tests.docs.first_difference writes their output."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import torch

from tests.docs.commands import FENCE, ROOT
from tests.docs.marks import replaced

PAGE = ROOT / "docs" / "first-difference.md"
PICTURE = ROOT / "docs" / "images" / "first-difference.svg"
CONSOLE = re.compile(r"```console\n(.*?)```", re.DOTALL)
KEEP = re.compile("KEEP='.*'")
WIDTH = 110  # columns of a block on the page
AVX512 = "AVX512"


def renew(text: str, folder: Path) -> str:
    """Return the page with what its commands print on this machine; their files are left in a folder."""
    code, *_ = (block for language, block in FENCE.findall(text) if language == "python")
    (folder / "training.py").write_text(code, encoding="utf-8")
    keep = ""

    def run(block: re.Match[str]) -> str:
        nonlocal keep
        # The tensor that differs first is another one on another machine.
        shown = _run(KEEP.sub(f"KEEP='{keep}'", block[1]) if keep else block[1], folder)
        keep = next(iter(re.findall(r"keep=(\{.*?\})\)", " ".join(shown.split()))), keep)
        return f"```console\n{shown}```"

    return replaced(CONSOLE.sub(run, text), "machine", _machine())


def _run(block: str, folder: Path) -> str:
    """Return the commands of a block, each with its output."""
    commands = [line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ ")]
    # As one script, since a variable of one command is used in the next.
    script = "".join(f"echo '@@{number}'\n{command}\n" for number, command in enumerate(commands))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{commands} ended with {done.returncode}: {done.stderr[-2000:]}")
    outputs = re.split(r"@@\d+\n", done.stdout)[1:]
    return "".join(f"$ {command}\n{_wrap(output)}" for command, output in zip(commands, outputs, strict=True))


def _wrap(output: str) -> str:
    lines = [textwrap.wrap(line, WIDTH, break_on_hyphens=False) or [""] for line in output.splitlines()]
    return "".join(f"{each}\n" for line in lines for each in line)


def _machine() -> str:
    vectors = torch.backends.cpu.get_cpu_capability()
    machine = f"torch {torch.__version__} on {platform.machine()} with {vectors}"
    # Said where the page compares two instruction sets.
    lack = ", which has no AVX-512: the second case compares equal instructions" if vectors != AVX512 else ""
    return f"The output below is of {machine}{lack}. Long lines are wrapped."


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        PAGE.write_text(renew(PAGE.read_text(encoding="utf-8"), Path(folder)), encoding="utf-8")
        PICTURE.write_bytes((Path(folder) / "growth.svg").read_bytes())


if __name__ == "__main__":
    main()
