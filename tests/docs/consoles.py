"""Blocks of pages that show commands with their output, in docs/commands.md and docs/audit.md.

`python -m tests.docs.consoles` makes the calls and writes what they print.
"""

import os
import re
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "docs/commands.md", ROOT / "docs/audit.md")
CONSOLE = re.compile(r"```console\n(.*?)```", re.DOTALL)
WIDTH = 110  # columns of a block
# What another machine, or a busy one, prints otherwise.
VARIES = re.compile(r"(?<![\w.])\d[\d.,]* ?(?:kB|MB|GB|B|s|images/s)\b|commit \w+[^\n]*")


def run(block: str, folder: Path) -> str:
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
    return "".join(f"$ {command}\n{wrap(output)}" for command, output in zip(commands, outputs, strict=True))


def wrap(output: str) -> str:
    # The audit wraps its lines too, at 120.
    output = re.sub(r"(?m)^(.{100,})\n {4}(?=\S)", r"\1 ", output)
    lines = [textwrap.wrap(line, WIDTH, break_on_hyphens=False) or [""] for line in output.splitlines()]
    return "".join(f"{each}\n" for line in lines for each in line)


def renew(page: str, folder: Path) -> str:
    """Return the page with what its commands print on this machine; their files are left in a folder.

    The folder has a link to `tests`, whose texts a command may read as in a clone.
    """
    (folder / "tests").symlink_to(ROOT / "tests")
    return CONSOLE.sub(lambda block: f"```console\n{run(block[1], folder)}```", page)


if __name__ == "__main__":
    for page in PAGES:
        with tempfile.TemporaryDirectory() as folder:
            page.write_text(renew(page.read_text(encoding="utf-8"), Path(folder)), encoding="utf-8")
