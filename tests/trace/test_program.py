"""A program is recorded as it is: its batches, losses, models and optimizers are found, and it computes the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from in4310repro.trace import Comparison, TraceFile, compare, read_trace
from in4310repro.trace.program import Program, check, record, run
from tests.trace.oracles import events, hash_by_numpy

SETUP = """
import argparse, random, torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--seed", type=int, default=1)
given = parser.parse_args()
torch.manual_seed(given.seed)
data = TensorDataset(torch.randn(32, 6, generator=torch.Generator().manual_seed(0)), torch.arange(32) % 3)
loader = DataLoader(data, batch_size=8, shuffle=True)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.drop, self.last = nn.Linear(6, 5), nn.Dropout(0.25), nn.Linear(5, 3)

    def forward(self, rows):
        return self.last(self.drop(F.relu(self.first(rows))))


model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=given.lr, momentum=0.5)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
criterion = nn.CrossEntropyLoss()
"""
LOOP = """
for epoch in range(2):
    model.train()
    for images, labels in loader:
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
    scheduler.step()
    model.eval()
    with torch.no_grad():
        for images, labels in DataLoader(data, batch_size=16):
            model(images)
torch.save(model.state_dict(), "weights.pt")
"""


def recorded(
    folder: Path, source: str = SETUP + LOOP, *words: str, steps: int = 0, name: str = "train.py"
) -> TraceFile:
    """Record a program in a process of its own; return its trace."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(source, encoding="utf-8")
    options = ["--steps", f"{steps}"] if steps else []
    command = [sys.executable, "-m", "in4310repro", "record", "a.trace", *options, "--", name, *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return read_trace(folder / "a.trace")


def compared(tmp_path: Path, change: tuple[str, str] = ("", ""), *words: str, plain: str = SETUP + LOOP) -> Comparison:
    """Compare a program with one in which a text is replaced by another, or that has other arguments."""
    assert change[0] in plain
    other = plain.replace(*change) if change[0] else plain
    traces = recorded(tmp_path / "a", plain, steps=3), recorded(tmp_path / "b", other, *words, steps=3)
    found = compare(*traces)
    assert len(found.text().split()) <= 60
    return found


def codes(found: Comparison) -> list[str]:
    assert found.verdict
    return [each.code for each in found.verdict.causes]


def certain(found: Comparison) -> bool:
    return bool(found.verdict and found.verdict.certain)


@pytest.mark.process
def test_an_unchanged_program_repeats_and_its_weights_are_those_of_a_run_that_is_not_recorded(tmp_path: Path) -> None:
    traces = [recorded(tmp_path / name) for name in "ab"]
    assert compare(*traces).equal
    assert [step.number for step in traces[0].steps] == [*range(8)]
    subprocess.run([sys.executable, "train.py"], cwd=tmp_path / "b", check=True)
    saved = [torch.load(tmp_path / name / "weights.pt") for name in "ab"]
    assert all(torch.equal(saved[0][name], saved[1][name]) for name in saved[0])


@pytest.mark.process
def test_batches_indices_losses_and_options_of_modules_are_recorded(tmp_path: Path) -> None:
    step = recorded(tmp_path, steps=1).steps[0]
    names = [each.tensor.name for each in step.events]
    assert [name for name in names if name in ("images", "labels", "indices", "loss")] == [
        *("images", "labels", "indices", "loss"),
    ]
    rows = torch.randn(32, 6, generator=torch.Generator().manual_seed(0))
    chosen = step.facts["indices"]
    by_name = {each.tensor.name: each.hash for each in step.events}
    assert by_name["images"] == hash_by_numpy(rows[chosen])
    assert by_name["labels"] == hash_by_numpy((torch.arange(32) % 3)[chosen])
    assert len({*chosen}) == 8
    assert step.facts["options"]["drop"] == "Dropout(p=0.25, inplace=False)"
    assert "label_smoothing=0.0" in step.facts["options"]["CrossEntropyLoss"]
    assert (step.facts["loader"]["batch size"], step.facts["seed"]) == ("8", 1)


@pytest.mark.process
def test_a_program_keeps_its_exit_code_and_one_without_steps_ends_with_2(tmp_path: Path) -> None:
    for source, code in ((SETUP + LOOP + "raise SystemExit(5)", 5), (SETUP, 2), ("1 / 0", 1)):
        (tmp_path / "train.py").write_text(source, encoding="utf-8")
        command = [sys.executable, "-m", "in4310repro", "record", "a.trace", "--", "train.py"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
    assert "ZeroDivisionError" in done.stderr


def test_what_is_no_program_is_refused() -> None:
    for words in ([], ["absent.py"], ["-m"], ["python"]):
        with pytest.raises(ValueError, match="give a Python file, or -m MODULE, after --"):
            check(words)
    assert check(["python", "-m", "train"]) == ["-m", "train"]


def test_a_trace_that_is_there_stays_where_the_program_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.trace").write_bytes(b"a trace")
    with pytest.raises(ValueError, match="give a Python file"):
        record(tmp_path / "a.trace", ["-m"])
    assert (tmp_path / "a.trace").read_bytes() == b"a trace"


# What was changed in the program, the codes that are named, and whether the first is said alone.
CAUSES: dict[str, tuple[tuple[str, str], list[str], bool]] = {
    "dropout": (("nn.Dropout(0.25)", "nn.Dropout(0.5)"), ["module-option"], True),
    "learning rate": (("default=0.1", "default=0.101"), ["optimizer-option"], True),
    "optimizer": (
        ("SGD(model.parameters(), lr=given.lr, momentum=0.5)", "Adam(model.parameters())"),
        ["optimizer"],
        True,
    ),
    "label smoothing": (("CrossEntropyLoss()", "CrossEntropyLoss(label_smoothing=0.1)"), ["loss"], True),
    "sum": (("CrossEntropyLoss()", "CrossEntropyLoss(reduction='sum')"), ["loss"], True),
    "scaled loss": (("loss.backward()", "(loss * 8).backward()"), ["scale"], True),
    "batch size": (("batch_size=8", "batch_size=4"), ["batch-size"], True),
    "sampler": (("shuffle=True", "shuffle=False"), ["order"], True),
    "other labels": (("% 3)", "% 2)"), ["labels"], True),
    "activation": (("F.relu", "F.gelu"), ["forward-code"], True),
    "a draw": (("return self.last", "torch.rand(1); return self.last"), ["randomness"], True),
    "input": (("model(images)", "model(images * 2)"), ["input"], True),
    "clipping": (
        (
            "        optimizer.step()",
            "        nn.utils.clip_grad_norm_(model.parameters(), 0.1)\n        optimizer.step()",
        ),
        ["clipping"],
        True,
    ),
    "clamped weights": (
        ("        optimizer.step()", "        optimizer.step()\n        model.last.weight.data.clamp_(-0.01, 0.01)"),
        ["edited"],
        True,
    ),
    "frozen layer": (("criterion =", "model.first.weight.requires_grad_(False)\ncriterion ="), ["frozen"], True),
    "no zero_grad": (("        optimizer.zero_grad()\n", ""), ["accumulation", "gradient"], False),
    "evaluation mode": (("model.train()", "model.eval()"), ["mode"], True),
}


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("kind", CAUSES)
def test_a_cause_in_a_program_is_named_with_the_line_that_differs(kind: str, tmp_path: Path) -> None:
    change, expected, alone = CAUSES[kind]
    found = compared(tmp_path, change)
    assert [code for code in codes(found) if code not in ("source", "arguments")] == expected
    assert certain(found) == alone
    assert "code train.py:" in found.text()


@pytest.mark.process
@pytest.mark.slow
def test_a_resumed_training_without_optimizer_state_is_aligned_and_named(tmp_path: Path) -> None:
    step = "        optimizer.step()\n"
    saved = "        torch.save(model.state_dict(), f'{steps}.pt')\n        steps += 1\n"
    save = LOOP.replace(step, step + saved)
    head = SETUP.replace("shuffle=True", "shuffle=False")
    first = recorded(tmp_path / "a", f"{head}\nsteps = 0\n{save}", steps=4)
    load = "model.load_state_dict(torch.load('../a/1.pt'))\nloader = list(loader)[2:]\n"
    resumed = f"{head}\n{load}{LOOP}"
    found = compare(first, recorded(tmp_path / "b", resumed, steps=2))
    assert codes(found)[0] == "optimizer-state"
    assert "B began without optimizer state: 4 tensors that A has" in found.text()
    assert "begins with the parameters of" in found.text()
    assert found.difference
    assert found.difference.step == 2


# Pairs in which a cause that one could name is not what differs first.
@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "absent"),
    [
        # Two things differ, and the one that is named is the one that makes the first difference.
        (("F.relu(self.first(rows))", "F.relu(self.first(rows), inplace=True)"), "computed"),
        (("given = parser", "unused = 3  # another comment\ngiven = parser"), "code"),
        (("batch_size=16", "batch_size=32"), "batch"),
        (("random, torch", "random, torch; random.random()"), "generator"),
    ],
    ids=["inplace", "comment", "validation batches", "python's generator"],
)
def test_what_changes_no_bit_is_not_accused(change: tuple[str, str], absent: str, tmp_path: Path) -> None:
    found = compared(tmp_path, change)
    assert found.equal, found.text()
    # Beside a real cause it is not named as the cause.
    other = compared(tmp_path, ("lr=given.lr", "lr=given.lr * 2"), plain=SETUP.replace(*change) + LOOP)
    assert codes(other)[0] == "optimizer-option"
    assert absent not in other.text().partition("Differs")[0]


SMALL = """
import torch
model = torch.nn.Linear(3, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
while True:
    model(torch.ones(2, 3)).sum().backward()
    optimizer.step()
"""


def run_here(folder: Path, source: str, steps: int = 2) -> TraceFile:
    """Record a program in this process."""
    (folder / "here.py").write_text(source, encoding="utf-8")
    with Program(folder / "here.trace", steps) as program, pytest.raises(SystemExit):
        run([f"{folder / 'here.py'}"])
    assert program.done == steps
    return read_trace(folder / "here.trace")


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [*sys.argv])
    monkeypatch.setattr(sys, "path", [*sys.path])


def test_two_models_with_an_optimizer_each_take_steps_in_their_order(tmp_path: Path) -> None:
    source = """
import torch
class First(torch.nn.Linear): pass
class Second(torch.nn.Linear): pass
first, second = First(4, 4), Second(4, 1)
optimizers = [torch.optim.SGD(each.parameters(), lr=0.1) for each in (first, second)]
while True:
    for optimizer in optimizers:
        optimizer.zero_grad()
        second(first(torch.ones(2, 4))).sum().backward()
        optimizer.step()
"""
    trace = run_here(tmp_path, source, steps=4)
    assert [name for name, _ in trace.modules] == ["", "First", "Second"]
    used = [list(events(trace, "gradient", i)) for i in (0, 1)]
    assert used == [
        ["First.weight.used_grad", "First.bias.used_grad"],
        ["Second.weight.used_grad", "Second.bias.used_grad"],
    ]


def test_a_training_before_this_one_in_the_same_process_is_not_recorded(tmp_path: Path) -> None:
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trace = run_here(tmp_path, SMALL)
    assert trace.header["optimizers"] == ["SGD"]
    assert events(trace, "update", 0)["weight"].tensor.shape == (1, 3)
    assert optimizer.param_groups[0]["params"][0] is model.weight


def test_hooks_of_torch_are_as_before_after_a_program(tmp_path: Path) -> None:
    from torch.nn.modules import module as modules

    before = torch.autograd.backward
    run_here(tmp_path, SMALL)
    assert torch.autograd.backward is before
    assert not modules._global_forward_hooks
    assert not modules._global_forward_pre_hooks


def test_the_header_has_arguments_and_lines_without_folders(tmp_path: Path) -> None:
    sys.argv[1:] = []
    trace = run_here(tmp_path, SETUP + LOOP, steps=1)
    assert [name for name in trace.header["sources"] if name.endswith("here.py")] != []
    assert not any(f"{tmp_path}" in json.dumps(each) for each in (trace.header["arguments"], trace.header["sources"]))
