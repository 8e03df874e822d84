"""A trace holds what a step computed, bit for bit, or refuses in a sentence; the training itself stays the same."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import getpass
import os
import re
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from in4310repro.trace import Trace, read_trace
from tests.trace.oracles import events, hash_by_numpy, hashes, trace_step

IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(4) % 3
ROWS = torch.randn(4, 6, generator=torch.Generator().manual_seed(1))


def seeded(make: Callable[[], nn.Module]) -> Any:
    torch.manual_seed(0)
    return make()


def network(*, inplace: bool = True) -> Any:
    return seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=inplace), nn.Flatten(), nn.Linear(144, 3)
        )
    )


def perceptron() -> Any:
    return seeded(lambda: nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2)))


def adamw(model: nn.Module) -> torch.optim.AdamW:
    return torch.optim.AdamW(model.parameters(), lr=1e-2)


def train(file: Path, number: int = 3, **options: Any) -> Any:
    """Train for `number` steps, trace all of them, and return the model."""
    model = network()
    optimizer = adamw(model)
    with Trace(model, optimizer, file, **options) as trace:
        for _ in range(number):
            with trace.step(images=IMAGES, labels=LABELS) as step:
                loss: Any = cross_entropy(model(IMAGES), LABELS)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                step.record(loss=loss)
    return model


def backward(model: Any, *inputs: Any) -> Any:
    loss = model(*inputs).square().sum()
    loss.backward()
    return loss


def test_a_step_is_recorded_in_the_order_of_execution(tmp_path: Path) -> None:
    train(tmp_path / "a.trace")
    step = read_trace(tmp_path / "a.trace").steps[1]
    found = [(each.tensor.phase, each.tensor.name) for each in step.events]
    data = [name for phase, name in found if phase == "data"]
    assert data[:6] == ["images", "images[0]", "images[1]", "images[2]", "images[3]", "labels"]
    assert data[6:] == ["generator.torch", "generator.numpy", "generator.python"]
    assert [name for phase, name in found if phase == "forward"] == [
        *("model.input", "0.input", "0.output", "1.input", "1.output", "2.input", "2.output", "3.input", "3.output"),
        *("4.input", "4.output", "model.output"),
    ]
    assert [name for phase, name in found if phase == "backward"] == [
        *("4.output.grad", "4.bias.grad", "4.weight.grad", "3.output.grad", "2.output.grad", "1.output.grad"),
        *("1.weight.grad", "1.bias.grad", "0.output.grad", "0.weight.grad", "0.bias.grad"),
    ]
    assert list(dict.fromkeys(phase for phase, _ in found)) == [
        "data",
        "forward",
        "loss",
        "backward",
        "gradient",
        "update",
    ]
    update = [name for phase, name in found if phase == "update"]
    assert update[:2] == ["0.weight", "0.bias"]
    assert {"1.running_mean", "1.num_batches_tracked", "optimizer.4.bias.exp_avg_sq", "optimizer.4.bias.step"} <= {
        *update
    }


def test_hashes_are_those_of_what_torch_computes(tmp_path: Path) -> None:
    plain, traced = network(inplace=False), network(inplace=False)
    maps: list[Any] = [IMAGES]
    for module in plain.children():
        maps.append(module(maps[-1]))
        maps[-1].retain_grad()
    maps[-1].square().sum().backward()
    trace = trace_step(tmp_path, traced, lambda: backward(traced, IMAGES))
    forward, gradients = hashes(trace, "forward"), hashes(trace, "backward")
    for i, output in enumerate(maps[1:]):
        assert forward[f"{i}.output"] == hash_by_numpy(output)
        assert output.grad is not None
        assert gradients[f"{i}.output.grad"] == hash_by_numpy(output.grad)
    for name, parameter in plain.named_parameters():
        assert parameter.grad is not None
        assert gradients[f"{name}.grad"] == hash_by_numpy(parameter.grad)
        assert hashes(trace, "update")[name] == hash_by_numpy(parameter)
    for name, buffer in plain.named_buffers():
        assert hashes(trace, "update")[name] == hash_by_numpy(buffer)


def test_a_map_that_relu_overwrites_is_hashed_before_and_after(tmp_path: Path) -> None:
    first, second = network(inplace=True), network(inplace=False)
    found = [
        trace_step(tmp_path, first, lambda: backward(first, IMAGES)),
        trace_step(tmp_path, second, lambda: backward(second, IMAGES)),
    ]
    for phase in ("forward", "backward"):
        assert hashes(found[0], phase) == hashes(found[1], phase)
    assert hashes(found[0], "forward")["1.output"] != hashes(found[0], "forward")["2.output"]


def test_a_trace_does_not_change_the_training(tmp_path: Path) -> None:
    traced, model = train(tmp_path / "a.trace"), network()
    optimizer = adamw(model)
    for _ in range(3):
        optimizer.zero_grad()
        loss: Any = cross_entropy(model(IMAGES), LABELS)
        loss.backward()
        optimizer.step()
    assert all(
        torch.equal(a, b) for a, b in zip(model.state_dict().values(), traced.state_dict().values(), strict=True)
    )
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in traced.modules())
    assert not any(each._post_accumulate_grad_hooks for each in traced.parameters())


def test_two_traces_of_one_training_are_equal_byte_for_byte(tmp_path: Path) -> None:
    train(tmp_path / "a.trace")
    train(tmp_path / "b.trace")
    assert (tmp_path / "a.trace").read_bytes() == (tmp_path / "b.trace").read_bytes()


def test_two_traces_of_one_model_at_once_are_equal(tmp_path: Path) -> None:
    model = perceptron()
    with Trace(model, None, tmp_path / "a.trace") as first, Trace(model, None, tmp_path / "b.trace") as second:
        for _ in range(2):
            with first.step(images=ROWS), second.step(images=ROWS):
                backward(model, ROWS)
    assert (tmp_path / "a.trace").read_bytes() == (tmp_path / "b.trace").read_bytes()


def test_a_tensor_takes_fewer_than_200_bytes_a_step(tmp_path: Path) -> None:
    train(tmp_path / "a.trace")
    number = sum(len(step.events) for step in read_trace(tmp_path / "a.trace").steps)
    assert (tmp_path / "a.trace").stat().st_size < 200 * number


def test_no_folder_and_no_user_is_in_the_file(tmp_path: Path) -> None:
    model, file = perceptron(), tmp_path / "a.trace"
    folder = tmp_path / "private-folder"
    paths = [folder / "sea.jpg", str(folder / "wood.jpg"), r"C:\Users\somebody\ice.jpg"]
    with Trace(model, adamw(model), file) as trace, trace.step(images=ROWS, paths=paths):
        backward(model, ROWS)
    assert read_trace(file).steps[0].paths == ("sea.jpg", "wood.jpg", "ice.jpg")
    content = file.read_text(encoding="utf-8")
    here = [*tmp_path.parts[1:], *Path.cwd().parts[1:], *Path(sys.prefix).parts[1:], getpass.getuser()]
    private = {"private-folder", "somebody", "Users", "/", "\\", *(each for each in here if len(each) > 4)}
    # Sketches are in base64, which has slashes; versions, processors and the model's names have none.
    assert not [each for each in private if each in re.sub(r'"[A-Za-z0-9+/]{43}="', "", content)]


def test_a_module_that_is_called_twice_has_a_name_for_each_call(tmp_path: Path) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(6, 6)

        def forward(self, rows: Tensor) -> Tensor:
            return torch.as_tensor(self.fc(self.fc(rows).sin()))

    model = seeded(Twice)
    trace = trace_step(tmp_path, model, lambda: backward(model, ROWS))
    first = model.fc(ROWS)
    second = model.fc(first.sin())
    forward = hashes(trace, "forward")
    assert forward["fc.output"] == hash_by_numpy(first)
    assert forward["fc.output@2"] == forward["model.output"] == hash_by_numpy(second)
    # Each gradient has the name of its output, though the second call's comes first.
    assert next(iter(events(trace, "backward"))) == "fc.output@2.grad"
    assert hashes(trace, "backward")["fc.output@2.grad"] == hash_by_numpy(2 * second)
    assert "fc.output.grad" in hashes(trace, "backward")


def test_a_shared_parameter_has_one_gradient_the_sum_of_both_uses(tmp_path: Path) -> None:
    model = seeded(lambda: nn.Sequential(nn.Linear(6, 6, bias=False), nn.Tanh(), nn.Linear(6, 6, bias=False)))
    model[2].weight = model[0].weight
    trace = trace_step(tmp_path, model, lambda: backward(model, ROWS), adamw(model))
    gradient = next(model.parameters()).grad
    assert gradient is not None
    named = {name: each for name, each in hashes(trace, "backward").items() if "weight" in name}
    assert named == {"0.weight.grad": hash_by_numpy(gradient)}


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_step_without_gradients_has_maps_and_no_gradients(mode: Callable[[], Any], tmp_path: Path) -> None:
    model = network()

    def work() -> None:
        with mode():
            model(IMAGES)

    trace = trace_step(tmp_path, model, work)
    assert not events(trace, "backward")
    assert hashes(trace, "forward")["1.output"] != hashes(trace, "forward")["2.output"]


def test_mixed_precision_is_recorded_as_it_is_computed(tmp_path: Path) -> None:
    model = perceptron()

    def work() -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return torch.as_tensor(backward(model, ROWS))

    trace = trace_step(tmp_path, model, work)
    assert events(trace, "forward")["0.output"].tensor.dtype == "bfloat16"
    assert events(trace, "backward")["0.output.grad"].tensor.dtype == "bfloat16"
    assert events(trace, "backward")["0.weight.grad"].tensor.dtype == "float32"
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = next(perceptron().children())(ROWS)
    assert hashes(trace, "forward")["0.output"] == hash_by_numpy(expected)


def test_accumulated_gradients_are_recorded_after_each_backward_pass(tmp_path: Path) -> None:
    model = perceptron()

    def work() -> None:
        backward(model, ROWS[:2])
        backward(model, ROWS[2:])

    gradients = hashes(trace_step(tmp_path, model, work), "backward")
    twin = perceptron()
    backward(twin, ROWS[:2])
    for name in ("0.weight.grad", "0.weight.grad@2"):
        assert gradients[name] == hash_by_numpy(torch.as_tensor(twin[0].weight.grad))
        backward(twin, ROWS[2:])


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_maps_that_checkpointing_computes_again_are_equal_and_in_the_backward_pass(
    use_reentrant: bool, tmp_path: Path
) -> None:
    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.block = nn.Linear(6, 6), nn.Sequential(nn.Linear(6, 6), nn.Tanh())

        def forward(self, rows: Tensor) -> Tensor:
            return torch.as_tensor(checkpoint(self.block, self.first(rows), use_reentrant=use_reentrant))

    model = seeded(Checkpointed)
    trace = trace_step(tmp_path, model, lambda: backward(model, ROWS))
    plain = seeded(Checkpointed)
    plain.block(plain.first(ROWS)).square().sum().backward()
    forward, gradients = hashes(trace, "forward"), hashes(trace, "backward")
    assert gradients["block.0.output@2"] == forward["block.0.output"]
    for name, parameter in plain.named_parameters():
        assert gradients[f"{name}.grad"] == hash_by_numpy(torch.as_tensor(parameter.grad))


@dataclasses.dataclass
class Parts:
    scores: Tensor
    name: str
    hidden: tuple[Tensor, ...]


OUTPUTS: dict[str, tuple[Callable[[Tensor], Any], list[str]]] = {
    "dict": (lambda rows: {"scores": rows, "count": 3, "more": [rows + 1, None]}, [".scores", ".more[0]"]),
    "tuple": (lambda rows: (rows, "text", rows + 1), ["[0]", "[2]"]),
    "dataclass": (lambda rows: Parts(rows, "a", (rows + 1,)), [".scores", ".hidden[0]"]),
    "packed sequence": (
        lambda rows: nn.utils.rnn.pack_padded_sequence(rows[..., None], torch.tensor([6, 5, 2, 1]), batch_first=True),
        ["[0]", "[1]"],
    ),
    "no tensor": (lambda _rows: "text", []),
    "key with a line break": (lambda rows: {"a\nb": rows}, [".a\\nb"]),
    "sparse": (lambda rows: rows.detach().to_sparse(), [".indices", ".values"]),
}


@pytest.mark.parametrize("kind", OUTPUTS)
def test_the_tensors_of_other_outputs_are_found(kind: str, tmp_path: Path) -> None:
    compute, paths = OUTPUTS[kind]

    class Other(nn.Module):
        def forward(self, rows: Tensor) -> Any:
            return compute(rows * 1)

    model = nn.Sequential(Other())
    trace = trace_step(tmp_path, model, lambda: (model(ROWS), None)[1])
    assert [name for name in events(trace, "forward") if name.startswith("0.output")] == [
        f"0.output{each}" for each in paths
    ]


def test_arguments_by_position_and_by_name_are_inputs(tmp_path: Path) -> None:
    model = seeded(lambda: nn.MultiheadAttention(6, 2, batch_first=True))
    trace = trace_step(tmp_path, model, lambda: (model(ROWS[None], ROWS[None], value=ROWS[None]), None)[1])
    assert list(events(trace, "forward"))[:3] == ["model.input[0]", "model.input[1]", "model.input.value"]


def test_a_gradient_that_is_written_through_data_is_hashed_anew_as_an_input(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(6, 6))
    weight: Any = model[0].weight

    def work() -> None:
        backward(model, ROWS)
        weight.grad.data.mul_(2)
        model(weight.grad)

    trace = trace_step(tmp_path, model, work)
    assert hashes(trace, "forward")["model.input@2"] == hash_by_numpy(torch.as_tensor(model[0].weight.grad))


def test_the_head_has_the_device_of_the_model(tmp_path: Path) -> None:
    with Trace(nn.Linear(1, 1, device="meta"), None, tmp_path / "a.trace"):
        pass
    assert read_trace(tmp_path / "a.trace").header["environment"]["device"] == "meta"


def test_a_frozen_parameter_has_no_gradient_until_it_is_freed(tmp_path: Path) -> None:
    model, file = perceptron(), tmp_path / "a.trace"
    model[0].requires_grad_(False)
    with Trace(model, None, file) as trace:
        for free in (False, True):
            model[0].requires_grad_(free)
            with trace.step():
                backward(model, ROWS)
    found = read_trace(file)
    assert "0.weight" in events(found, "update", 0)
    assert "0.weight.grad" not in events(found, "backward", 0)
    assert "0.weight.grad" in events(found, "backward", 1)


def test_each_of_several_optimizers_has_its_state_and_options(tmp_path: Path) -> None:
    model, other = perceptron(), nn.Parameter(torch.ones(2))
    first = torch.optim.AdamW(model[0].parameters(), lr=torch.tensor(0.25))
    second = torch.optim.SGD([*model[2].parameters(), other], lr=0.5, momentum=0.9)

    class Extended(nn.Module):
        def forward(self, rows: Tensor) -> Tensor:
            return torch.as_tensor(model(rows)) * other

    def step() -> None:
        backward(Extended(), ROWS)
        first.step()
        second.step()

    trace = trace_step(tmp_path, model, step, [first, second])
    state = [name for name in events(trace, "update") if name.startswith("optimizer")]
    assert "optimizer.0.weight.exp_avg" in state
    assert {"optimizer2.2.weight.momentum_buffer", "optimizer2.other[2].momentum_buffer"} <= {*state}
    assert '"lr": 0.25' in trace.steps[0].groups
    assert '"lr": 0.5' in trace.steps[0].groups


def test_parameters_of_one_value_are_no_options_of_the_optimizer(tmp_path: Path) -> None:
    model = nn.Linear(1, 1)
    trace = trace_step(tmp_path, model, lambda: (backward(model, torch.ones(2, 1)), None)[1], adamw(model))
    assert "params" not in trace.steps[0].groups


def test_the_state_of_lbfgs_with_its_lists_is_recorded(tmp_path: Path) -> None:
    model = perceptron()
    optimizer: Any = torch.optim.LBFGS(model.parameters(), max_iter=3)

    def closure() -> Tensor:
        optimizer.zero_grad()
        return torch.as_tensor(backward(model, ROWS))

    trace = trace_step(tmp_path, model, lambda: (optimizer.step(closure), None)[1], optimizer)
    assert {"optimizer.0.weight.old_dirs[0]", "optimizer.0.weight.n_iter"} <= {*events(trace, "update")}
    assert "model.output@3" in events(trace, "forward")


def test_a_step_that_raises_is_left_out_and_the_next_is_recorded(tmp_path: Path) -> None:
    model, file = perceptron(), tmp_path / "a.trace"

    class Breaking(torch.optim.SGD):
        broken = False

        def step(self, closure: Any = None) -> Any:
            if self.broken:
                raise ArithmeticError("the optimizer broke")
            return super().step(closure)

    optimizer = Breaking(model.parameters(), lr=0.1)
    with Trace(model, optimizer, file) as trace:
        for broken in (False, True, False):
            optimizer.broken = broken
            with contextlib.suppress(ArithmeticError), trace.step(images=ROWS):
                backward(model, ROWS)
                optimizer.step()
    found = read_trace(file)
    assert [step.number for step in found.steps] == [0, 2]
    assert "0.weight.used_grad" in events(found, "gradient", 1)
    # What the broken step left behind is recorded at the start of the next.
    assert "start.0.weight" in events(found, "data", 1)


def test_a_sparse_gradient_is_recorded_by_its_indices_and_values(tmp_path: Path) -> None:
    model = seeded(lambda: nn.Embedding(5, 3, sparse=True))
    trace = trace_step(tmp_path, model, lambda: backward(model, torch.tensor([1, 4, 1])))
    gradient = torch.as_tensor(model.weight.grad)
    assert hashes(trace, "backward")["weight.grad.indices"] == hash_by_numpy(gradient._indices())
    assert hashes(trace, "backward")["weight.grad.values"] == hash_by_numpy(gradient._values())


def test_a_model_that_moves_between_steps_stays_traced(tmp_path: Path) -> None:
    model, file = perceptron(), tmp_path / "a.trace"
    with Trace(model, None, file) as trace:
        for dtype in (torch.float32, torch.float64):
            model.to(dtype).zero_grad()
            with trace.step():
                backward(model, ROWS.to(dtype))
    found = read_trace(file)
    assert [events(found, "backward", i)["0.weight.grad"].tensor.dtype for i in (0, 1)] == ["float32", "float64"]


class Late(nn.Module):
    """Module that creates its parameter in the first forward pass."""

    def forward(self, rows: Tensor) -> Tensor:
        if not hasattr(self, "scale"):
            self.scale = nn.Parameter(torch.ones(rows.shape[1]))
        return rows * self.scale


@pytest.mark.parametrize("make", [lambda: nn.LazyLinear(2), Late], ids=["lazy", "late"])
def test_parameters_that_the_first_forward_pass_creates_are_recorded(
    make: Callable[[], nn.Module], tmp_path: Path
) -> None:
    model = nn.Sequential(make())
    trace = trace_step(tmp_path, model, lambda: backward(model, ROWS))
    (name, parameter), *_ = model.named_parameters()
    assert hashes(trace, "backward")[f"{name}.grad"] == hash_by_numpy(torch.as_tensor(parameter.grad))
    assert name in events(trace, "update")


def test_a_copy_of_the_model_is_not_recorded(tmp_path: Path) -> None:
    model, file = perceptron(), tmp_path / "a.trace"
    with Trace(model, None, file) as trace, trace.step():
        average = torch.optim.swa_utils.AveragedModel(model)
        copy.deepcopy(model)(ROWS)
        copy.copy(model[0])(ROWS)
        average(ROWS)
        model(ROWS)
    assert "0.output@2" not in events(read_trace(file), "forward")


def test_the_mode_of_a_module_is_that_in_which_it_was_called(tmp_path: Path) -> None:
    model = network()

    def work() -> None:
        model[1].eval()
        model(IMAGES)

    trace = trace_step(tmp_path, model, work)
    assert dict(zip([name for name, _ in trace.modules], trace.steps[0].modes, strict=True)) == {
        "": "t",
        "0": "t",
        "1": "e",
        "2": "t",
        "3": "t",
        "4": "t",
    }


def test_every_and_steps_choose_steps_and_the_state_before_them_is_recorded(tmp_path: Path) -> None:
    train(tmp_path / "a.trace", 8, steps=range(1, 8), every=3)
    found = read_trace(tmp_path / "a.trace")
    assert [step.number for step in found.steps] == [3, 6]
    assert all("start.0.weight" in events(found, "data", i) for i in (0, 1))


def test_batches_in_containers_and_indices_are_recorded(tmp_path: Path) -> None:
    model, file = perceptron(), tmp_path / "a.trace"
    batch = {"rows": ROWS, "masks": [ROWS > 0]}
    with Trace(model, None, file) as trace, trace.step(images=batch, labels=(LABELS, LABELS), indices=torch.arange(4)):
        model(ROWS)
    names = [name for name in events(read_trace(file), "data") if not name.startswith(("start", "generator"))]
    assert names == ["images.rows", "images.masks[0]", "labels[0]", "labels[1]", "indices"]


def test_the_generators_of_torch_numpy_and_python_show_a_draw(tmp_path: Path) -> None:
    import random

    import numpy as np

    draws: dict[str, Callable[[], Any]] = {
        "generator.torch": lambda: torch.rand(1),
        "generator.numpy": lambda: np.random.rand(),
        "generator.python": random.random,
    }
    model = perceptron()
    plain = hashes(trace_step(tmp_path, model, lambda: (model(ROWS), None)[1]), "data")
    for name, draw in draws.items():
        draw()
        drawn = hashes(trace_step(tmp_path, model, lambda: (model(ROWS), None)[1]), "data")
        assert [each for each in plain if plain[each] != drawn[each]] == [name]
        plain = drawn


def test_a_loss_is_recorded_with_its_sign_and_before_the_backward_pass(tmp_path: Path) -> None:
    model, file = perceptron(), tmp_path / "a.trace"
    with Trace(model, None, file) as trace, trace.step() as step:
        backward(model, ROWS)
        step.record(loss=torch.tensor(-0.1), other=float("nan"), each=torch.ones(2), turned=torch.tensor(1j))
    found = read_trace(file)
    assert list(found.steps[0].losses) == ["loss", "other"]
    assert found.steps[0].losses["loss"] == float(torch.tensor(-0.1))
    assert found.steps[0].losses["other"] != found.steps[0].losses["other"]
    phases = [each.tensor.phase for each in found.steps[0].events]
    assert phases.index("loss") < phases.index("backward")


def test_losses_of_accumulated_gradients_stand_before_the_backward_pass_of_each(tmp_path: Path) -> None:
    model, file = perceptron(), tmp_path / "a.trace"
    with Trace(model, None, file) as trace, trace.step() as step:
        step.record(late=backward(model, ROWS))
        early = model(ROWS).square().sum()
        step.record(early=early)
        early.backward()
        step.record(after=0.5)
    events = [each.tensor for each in read_trace(file).steps[0].events]
    order = [each.name if each.phase == "loss" else each.phase for each in events]
    passes = [name for name, before in zip(order, ["", *order], strict=False) if name not in ("data", before)]
    assert passes == ["forward", "late", "backward", "forward", "early", "after", "backward", "update"]


def test_a_compiled_model_is_a_leaf_of_which_inputs_outputs_and_gradients_are_recorded(tmp_path: Path) -> None:
    model = perceptron()
    compiled: Any = torch.compile(model, backend="eager")
    trace = trace_step(tmp_path, compiled, lambda: backward(compiled, ROWS))
    assert list(events(trace, "forward")) == ["model.input", "model.output"]
    assert hashes(trace, "forward")["model.output"] == hash_by_numpy(perceptron()(ROWS))
    assert {"0.weight.grad", "2.bias.grad"} <= {*events(trace, "backward")}
    assert "0.weight" in events(trace, "update")
    with pytest.raises(RuntimeError, match=r"step 0 called no module of the model \(Sequential\): it is compiled"):
        trace_step(tmp_path, perceptron(), lambda: backward(compiled, ROWS))


def test_a_compiled_block_is_a_leaf_and_the_modules_around_it_are_recorded(tmp_path: Path) -> None:
    model = seeded(lambda: nn.Sequential(nn.Linear(6, 5), nn.Sequential(nn.Tanh()), nn.Linear(5, 2)))
    model[1].compile(backend="eager")
    found = events(trace_step(tmp_path, model, lambda: backward(model, ROWS)), "forward")
    assert {"0.output", "2.input"} <= {*found}
    assert not [name for name in found if name.startswith("1.0.")]


def test_a_scripted_model_is_refused_and_a_scripted_module_is_a_leaf(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        jit: Any = torch.jit
        scripted = jit.trace(nn.Linear(6, 2), ROWS)
    with pytest.raises(ValueError, match=r"the model \(TopLevelTracedModule\) is scripted, and calls no hooks"):
        Trace(scripted, None, tmp_path / "a.trace")
    model = nn.Sequential(scripted)
    found = events(trace_step(tmp_path, model, lambda: (model(ROWS), None)[1]), "forward")
    assert {"model.input", "model.output"} <= {*found}


def test_a_model_on_several_gpus_is_refused_and_data_parallel_on_one_is_not(tmp_path: Path) -> None:
    model = nn.DataParallel(perceptron(), device_ids=None)
    trace = trace_step(tmp_path, model, lambda: backward(model, ROWS))
    assert "module.0.output" in events(trace, "forward")
    model.device_ids = [0]
    Trace(model, None, tmp_path / "a.trace")
    model.device_ids = [0, 1]
    with pytest.raises(ValueError, match=r"the model \(DataParallel\) copies itself to 2 GPUs; trace it on one"):
        Trace(model, None, tmp_path / "a.trace")


def test_tensors_without_plain_values_are_noted_and_the_step_goes_on(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Identity(), nn.Linear(6, 2))
    nested = torch.nested.nested_tensor([ROWS[0], ROWS[1]], layout=torch.jagged)
    trace = trace_step(tmp_path, model, lambda: (model[0](nested), model(ROWS), None)[2])
    assert "0.input" not in events(trace, "forward")
    assert "dense values in memory" in trace.steps[0].facts["not hashed"]["0.input"]
    assert "model.output" in events(trace, "forward")


def test_calls_inside_of_torch_func_are_noted_and_the_training_goes_on(tmp_path: Path) -> None:
    model = perceptron()

    def work() -> Tensor:
        rows = torch.func.vmap(model)(ROWS)
        torch.func.grad(lambda weights: torch.func.functional_call(model, weights, ROWS).sum())(
            dict(model.named_parameters())
        )
        return torch.as_tensor(rows.square().sum())

    trace = trace_step(tmp_path, model, lambda: torch.autograd.backward(work()))
    assert "inside of torch.func" in trace.steps[0].facts["not hashed"]["0.input"]
    assert "0.weight.grad" in events(trace, "backward")


def test_a_layer_that_replaces_another_is_recorded_under_its_name_and_a_new_one_is_added(tmp_path: Path) -> None:
    model, file = perceptron(), tmp_path / "a.trace"
    with Trace(model, None, file) as trace:
        for change in (lambda: None, lambda: model.__setitem__(2, nn.Linear(5, 2)), lambda: model.append(nn.ReLU())):
            change()
            with trace.step(images=ROWS):
                backward(model, ROWS)
    found = read_trace(file)
    assert "2.output" in events(found, "forward", 1)
    assert "start.2.weight" in events(found, "data", 1)
    assert "3.output" in events(found, "forward", 2)
    assert found.modules[-1] == ["3", "ReLU"]


def test_a_model_that_is_saved_while_it_is_traced_loads_without_this_package_and_with_weights_only(
    tmp_path: Path,
) -> None:
    model, file = perceptron(), tmp_path / "model.pt"
    with Trace(model, adamw(model), tmp_path / "a.trace") as trace, trace.step():
        backward(model, ROWS)
        torch.save(model, file)
    with torch.serialization.safe_globals([nn.Sequential, nn.Linear, nn.Tanh]):
        loaded = torch.load(file, weights_only=True)
    assert torch.equal(loaded(ROWS), model(ROWS))
    assert b"in4310repro" not in file.read_bytes()


@pytest.mark.parametrize("edit", [lambda weight: weight.data.clamp_(-0.1, 0.1), lambda weight: weight.add_(1)])
def test_a_parameter_that_is_edited_between_two_steps_is_recorded_at_the_start_of_the_second(
    edit: Callable[[Any], object], tmp_path: Path
) -> None:
    model, file = perceptron(), tmp_path / "a.trace"
    optimizer = adamw(model)
    with Trace(model, optimizer, file) as trace:
        for number in range(3):
            if number == 2:
                with torch.no_grad():
                    edit(model[2].weight)
            with trace.step(images=ROWS):
                backward(model, ROWS)
                optimizer.step()
    found = read_trace(file)
    started = [[name for name in events(found, "data", i) if name.startswith("start.")] for i in (1, 2)]
    assert started == [[], ["start.2.weight"]]


def test_gradients_and_options_are_those_that_the_optimizer_used(tmp_path: Path) -> None:
    model, file = perceptron(), tmp_path / "a.trace"
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    with Trace(model, optimizer, file) as trace, trace.step(images=ROWS):
        backward(model, ROWS)
        nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
        expected = hash_by_numpy(torch.as_tensor(model[0].weight.grad))
        optimizer.step()
        scheduler.step()
    found = read_trace(file)
    assert hashes(found, "gradient")["0.weight.used_grad"] == expected != hashes(found, "backward")["0.weight.grad"]
    assert '"lr": 0.5' in found.steps[0].groups


ARGUMENTS: dict[str, tuple[dict[str, Any], str]] = {
    "every": ({"every": 0}, "every is 0 and rows None; both must be at least 1"),
    "optimizer": ({"optimizer": ["SGD"]}, "optimizer is str; it must be a torch.optim.Optimizer, several or None"),
    "keep": ({"keep": {"step": 5, "tensors": ["loss"]}, "every": 2}, "keep names step 5, which is not recorded"),
}


@pytest.mark.parametrize("kind", ARGUMENTS)
def test_a_wrong_argument_is_refused(kind: str, tmp_path: Path) -> None:
    options, message = ARGUMENTS[kind]
    with pytest.raises(ValueError, match=message):
        Trace(perceptron(), options.pop("optimizer", None), tmp_path / "a.trace", **options)


def test_steps_come_one_at_a_time_with_rising_numbers_inside_of_the_trace(tmp_path: Path) -> None:
    model = perceptron()
    trace = Trace(model, None, tmp_path / "a.trace")
    with pytest.raises(RuntimeError, match="inside of `with Trace"), trace.step():
        pass
    with trace:
        with trace.step(number=4):
            with pytest.raises(RuntimeError, match="one at a time"), trace.step():
                pass
            model(ROWS)
        with pytest.raises(ValueError, match="step 4 after 4; numbers must rise"), trace.step(number=4):
            pass
        with pytest.raises(ValueError, match="images is str without a tensor"), trace.step(images="a"):
            pass


@pytest.mark.parametrize("place", ["", "missing/a.trace"])
def test_a_place_that_cannot_be_written_is_refused_before_the_training(place: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=str(tmp_path)), Trace(perceptron(), None, tmp_path / place):
        pass


@contextlib.contextmanager
def no_file_above(size: int) -> Iterator[None]:
    import resource  # not on Windows

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_ends_the_trace_with_a_warning_and_not_the_training(tmp_path: Path) -> None:
    train(tmp_path / "whole.trace")
    whole, file = read_trace(tmp_path / "whole.trace"), tmp_path / "a.trace"
    size = (tmp_path / "whole.trace").stat().st_size - 500
    message = "a.trace: no step from 2 on can be written .*; the training goes on"
    with pytest.warns(RuntimeWarning, match=message) as caught, no_file_above(size):
        model = train(file, 5)
    assert caught[0].filename == __file__  # the line of the training
    assert torch.equal(next(train(tmp_path / "other.trace", 5).parameters()), next(model.parameters()))
    found = read_trace(file)
    assert found.cut
    assert found.steps == whole.steps[:2]


KILLED = """
import os, signal, sys, torch
from in4310repro.trace import Trace
model = torch.nn.Linear(4, 2)
with Trace(model, None, sys.argv[1]) as trace:
    for number in range(10):
        with trace.step():
            model(torch.ones(3, 4))
            if number == 3:
                os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.process
def test_a_killed_process_leaves_all_whole_steps(tmp_path: Path) -> None:
    file = tmp_path / "a.trace"
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(file)], check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert ended.returncode == -signal.SIGKILL
    assert [step.number for step in read_trace(file).steps] == [0, 1, 2]


@pytest.mark.process
def test_the_library_needs_torch_numpy_and_pydantic_alone() -> None:
    words = "import sys, in4310repro.trace; print(*(m for m in sys.argv[1:] if m in sys.modules))"
    others = ["torchvision", "pandas", "scipy", "sklearn", "matplotlib", "PIL", "click", "rich"]
    ended = subprocess.run([sys.executable, "-c", words, *others], check=True, capture_output=True, text=True)
    assert ended.stdout.strip() == ""
