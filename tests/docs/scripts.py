"""Code of a page or notebook, run as one Python script.

As in IPython, a line that begins with `!` is a command, and `_exit_code` is that of the last one.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

COMMAND = re.compile(r"^!(.*)$", re.MULTILINE)
START = """import subprocess


def run_command(line):
    done = subprocess.run(line, shell=True, capture_output=True, text=True, encoding="utf-8")
    if done.returncode not in (0, 1):  # 1: a check found a difference
        raise RuntimeError(f"{line} ended with {done.returncode}: {done.stderr[-2000:]}")
    print(done.stdout, end="")
    return done.returncode

"""
# For a kernel that executes a notebook: output of commands without their progress, which is on standard error.
START_KERNEL = f"""{START}
get_ipython().system = lambda line: get_ipython().user_ns.update(_exit_code=run_command(line))
"""


def run(blocks: Iterable[str], folder: Path) -> str:
    """Run blocks of code in a folder, one after the other, and return what they print.

    Raises:
        RuntimeError: a line fails.
    """
    script = "\n".join(COMMAND.sub(lambda line: f"_exit_code = run_command({line[1]!r})", block) for block in blocks)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # The folder may be that of the pages, in which nothing is left.
    with tempfile.TemporaryDirectory() as cache:
        done = subprocess.run(
            [sys.executable, "-c", START + script],
            cwd=folder,
            env=os.environ | {"PATH": path, "MPLBACKEND": "agg", "IN4310REPRO_CACHE": cache},
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return done.stdout


def read_cells(file: Path) -> list[str]:
    """Return the source of each cell of a notebook."""
    return ["".join(cell["source"]) for cell in json.loads(file.read_text(encoding="utf-8"))["cells"]]
