"""Tests that need a CUDA device: native arithmetic repeats its bits on the same card."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from in4310repro import golden
from in4310repro.metrics import average_precision, class_accuracy
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.context import Context
from in4310repro.system.fingerprint import fingerprint
from in4310repro.system.numerics import activate
from in4310repro.verification.compare import compare_runs
from in4310repro.verification.routine import verify
from tests import golden_cases
from tests.test_metrics import average_precision_by_sklearn, example

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def train_on_card(folder: Path) -> FinishedRun:
    """Train a tiny run on the GPU in a new process, since the cuBLAS workspace must be set before CUDA starts."""
    command = [sys.executable, "-m", "in4310repro", "train", "--preset", "tiny", "--out", str(folder)]
    subprocess.run([*command, "--numerics", "native", "--device", "cuda"], check=True, env=dict(os.environ))
    return FinishedRun.open(folder)


def test_two_processes_on_the_same_card_give_equal_bits(tmp_path: Path) -> None:
    first, second = train_on_card(tmp_path / "one"), train_on_card(tmp_path / "two")
    assert compare_runs(first, second) == []
    assert verify(first.folder, context=Context(activate("native", "cuda"))).differences == []


def test_a_tiny_run_equals_the_golden_file_of_this_card(golden_tiers: Callable[[golden.Comparison], None]) -> None:
    card = golden_cases.numerics("cuda")
    folder = golden.folder.device_folder(golden_cases.FOLDER, card.device_name)
    if not folder.is_dir():
        pytest.skip(f'no golden files of {card.device_name}: nox -s golden -- tiny_bits --device cuda --reason "first"')
    environments, versions = golden.folder.read_environments(golden_cases.FOLDER), fingerprint(card)["versions"]
    if not environments.has(card, versions):
        pytest.skip(f"other libraries or another driver than the golden files of {card.device_name}; not compared")
    for case, claims in golden_cases.CARD_CASES.items():
        comparison = golden.compare(case, golden.read(folder, case), claims(), card, versions, environments)
        golden_tiers(comparison)
        assert comparison.differences == []


def test_the_numeric_class_of_a_card_is_not_that_of_the_processor() -> None:
    assert activate("native", "cuda").numeric_class != activate("native", "cpu").numeric_class


def test_metrics_on_the_card_agree_with_sklearn() -> None:
    labels, scores = example(0, decimals=1)
    precision = average_precision(labels.cuda(), scores.cuda()).cpu()
    torch.testing.assert_close(precision, average_precision_by_sklearn(labels, scores), rtol=0, atol=1e-12)
    assert torch.equal(class_accuracy(labels.cuda(), scores.cuda()).cpu(), class_accuracy(labels, scores))
