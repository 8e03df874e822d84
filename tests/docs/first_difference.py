"""The commands on docs/first-difference.md, run here: python -m tests.docs.first_difference writes their output."""

from __future__ import annotations

import platform
import re
import tempfile
from pathlib import Path

import torch

from tests.docs import consoles
from tests.docs.commands import FENCE, ROOT
from tests.docs.marks import replaced

PAGE = ROOT / "docs" / "first-difference.md"
PICTURE = ROOT / "docs" / "images" / "first-difference.svg"
KEEP = re.compile("KEEP='.*'")
AVX512 = "AVX512"


def renew(text: str, folder: Path) -> str:
    """Return the page with what its commands print on this machine; their files are left in a folder."""
    code, *_ = (block for language, block in FENCE.findall(text) if language == "python")
    (folder / "training.py").write_text(code, encoding="utf-8")
    keep = ""

    def run(block: re.Match[str]) -> str:
        nonlocal keep
        # The tensor that differs first is another one on another machine.
        shown = consoles.run(KEEP.sub(f"KEEP='{keep}'", block[1]) if keep else block[1], folder)
        named = re.findall(r"WHERE step (\d+), [a-z ]+: (\S+)", " ".join(shown.split()))
        keep = next((f"{step}:{name}" for step, name in named), keep)
        return f"```console\n{shown}```"

    return replaced(consoles.CONSOLE.sub(run, text), "machine", _machine())


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
