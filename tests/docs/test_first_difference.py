"""The page on `diff`: its commands run as they stand, and their output is that of the machine that runs them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch

from tests.docs.consoles import CONSOLE, WIDTH
from tests.docs.first_difference import AVX512, PAGE, renew

SMALL = """```python
print("loading")
```
<!-- machine: begin -->
<!-- machine: end -->
```console
$ python training.py && echo 'WHERE  step 4, loss: loss.fc (Linear)'
old output
```
```console
$ KEEP='of another machine'
$ echo "$KEEP"
```
"""
pytestmark = pytest.mark.skipif(not shutil.which("bash"), reason="the page's commands are of a POSIX shell")


@pytest.mark.process
def test_commands_run_in_order_and_the_tensor_to_keep_is_the_one_that_was_printed(tmp_path: Path) -> None:
    page = renew(SMALL, tmp_path)
    assert "(Linear)'\nloading\nWHERE  step 4, loss: loss.fc (Linear)\n```" in page
    assert "old output" not in page
    assert """$ KEEP='4:loss.fc'\n$ echo "$KEEP"\n4:loss.fc\n""" in page
    assert f"torch {torch.__version__}" in page


@pytest.mark.process
def test_a_command_that_fails_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"false.* ended with 2"):
        renew(SMALL.replace("python training.py", "false; exit 2"), tmp_path)


def test_the_page_holds_a_real_output_within_its_width() -> None:
    text = PAGE.read_text(encoding="utf-8")
    lines = [line for block in CONSOLE.findall(text) for line in block.splitlines()]
    assert max(map(len, lines)) <= WIDTH
    assert sum(line.startswith("WHERE  step 0, ") for line in lines) == 2


@pytest.mark.slow
@pytest.mark.process
def test_threads_and_instructions_part_the_training_of_the_page(tmp_path: Path) -> None:
    threads, vectors, elements = CONSOLE.findall(renew(PAGE.read_text(encoding="utf-8"), tmp_path))
    assert "other rounding by threads 1 and 2" in " ".join(threads.split())
    if torch.backends.cpu.get_cpu_capability() != AVX512:
        pytest.skip("this machine has no AVX-512")
    (name,) = re.findall(r"forward pass: (\S+) \(Conv2d\)", " ".join(vectors.split()))
    assert "vectors AVX512 and AVX2" in " ".join(vectors.split())
    assert f"\n{name}: " in elements
