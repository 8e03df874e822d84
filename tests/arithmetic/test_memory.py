"""Tensors without memory for their values: zeros that torch does not store, and tensors that were freed.

The cases run in another process, because the fault they guard against ends the process. The last line of
output names the case.
"""

import subprocess
import sys

import pytest

BEGIN = """
import torch
from in4310repro.arithmetic import SGD, AdamW, RMSprop, functions
from in4310repro.features import FeatureStatistics

def cut(values, size=0):
    values.untyped_storage().resize_(size)
    return values

def normed(maps, mean):
    return functions.batch_norm(maps, functions.Norm(mean, torch.ones(8), None, None, training=True))

def step(kind, prepare):
    parameter = torch.nn.Parameter(torch.ones(8, 8))
    parameter.grad = torch.ones(8, 8)
    optimizer = kind([parameter], lr=0.1, **({"momentum": 0.9} if kind is SGD else {}))
    optimizer.step()
    prepare(parameter, optimizer)
    optimizer.step()

def cut_moments(parameter, optimizer):
    for value in optimizer.state[parameter].values():
        if value.ndim:
            cut(value, 8)

class Makes(torch.nn.Module):
    def __init__(self, make):
        super().__init__()
        self.make = make

    def forward(self, images):
        return self.make()

def measured(make):
    model = torch.nn.Sequential(Makes(make))
    with FeatureStatistics(model, ["0"], samples=None) as statistics:
        model(torch.zeros(2, 3))
    return statistics
"""
REFUSED = {
    "freed": "functions.softmax(cut(torch.ones(2, 8)))",
    "cut": "functions.softmax(cut(torch.ones(2, 8), 60))",
    "a part behind the end": "functions.softmax(cut(torch.ones(4, 8)[1:3], 80))",
    "steps behind the end": "functions.softmax(cut(torch.ones(8, 200).t()[:2], 5600))",
    "maps": "normed(cut(torch.ones(2, 8, 4, 4)), torch.zeros(8))",
    "labels": "functions.cross_entropy(torch.ones(2, 8), cut(torch.zeros(2, dtype=torch.int64)))",
    "running mean to write": "normed(torch.ones(2, 8, 4, 4), cut(torch.zeros(8)))",
    "zeros to write": "normed(torch.ones(2, 8, 4, 4), torch._efficientzerotensor(8))",
    "an output": "measured(lambda: cut(torch.ones(2, 3, 4, 4)))",
    **{
        f"{kind} {what}": f"step({kind}, {prepare})"
        for kind in ("AdamW", "RMSprop", "SGD")
        for what, prepare in {
            "parameter": "lambda p, _: cut(p.data)",
            "parameter of zeros": "lambda p, _: setattr(p, 'data', torch._efficientzerotensor(8, 8))",
            "gradient": "lambda p, _: cut(p.grad, 4)",
            "moment": "cut_moments",
        }.items()
    },
}
TAKEN = {
    "zeros": "assert torch.equal(functions.softmax(torch._efficientzerotensor(2, 8)), torch.full((2, 8), 0.125))",
    "maps of zeros": "assert not normed(torch._efficientzerotensor(2, 8, 4, 4), torch.zeros(8)).any()",
    "an output of zeros": "measured(lambda: torch._efficientzerotensor(2, 3, 4, 4))",
    "a gradient of zeros": "step(SGD, lambda p, _: setattr(p, 'grad', torch._efficientzerotensor(8, 8)))",
    "gaps": "functions.softmax(torch.ones(9, 16)[1:, ::2])",
    "repeated rows": "functions.softmax(torch.ones(1, 1).expand(2, 8))",
    "the last of its memory": "functions.softmax(cut(torch.ones(4, 8)[1:3], 96))",
}


@pytest.fixture(scope="module")
def messages() -> dict[str, str]:
    """Run all cases in one process; return each case's ValueError message, or "" if none was raised."""
    parts = [
        f"""
print({name!r}, end=": ", flush=True)
try:
    {code}
    print(flush=True)
except ValueError as error:
    print(error, flush=True)
"""
        for name, code in (REFUSED | TAKEN).items()
    ]
    words = [sys.executable, "-c", BEGIN + "".join(parts)]
    found = subprocess.run(words, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    return {name: said for name, _, said in (line.partition(": ") for line in found.stdout.splitlines())}


@pytest.mark.parametrize("name", REFUSED)
def test_values_that_are_not_in_memory_are_refused(name: str, messages: dict[str, str]) -> None:
    assert "memory" in messages[name]
    assert "it must " in messages[name]


@pytest.mark.parametrize("name", TAKEN)
def test_zeros_without_memory_are_what_they_stand_for_and_values_up_to_the_end_of_their_memory_are_taken(
    name: str, messages: dict[str, str]
) -> None:
    assert messages[name] == ""
