"""The first difference of two traces: its place, what was equal before it, its cause, and how it grows."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from in4310repro.trace import Comparison, compare, read_trace
from tests.trace.recording import Batch, batches, edit_head, network, record

ROOT = "model"
Changed = Callable[..., Comparison]


@pytest.fixture
def against(tmp_path: Path) -> Changed:
    """Return a function that traces a plain and a changed training and compares the traces."""

    def changed(plain: dict[str, Any] | None = None, **change: Any) -> Comparison:
        traces = [
            record(tmp_path / f"{name}.trace", **options) for name, options in (("a", plain or {}), ("b", change))
        ]
        return compare(*traces)

    return changed


def codes(found: Comparison) -> list[str]:
    """Return the codes of the causes that are named, likeliest first."""
    assert found.verdict
    return [each.code for each in found.verdict.causes]


def next_number(values: Tensor, place: int = 0) -> Tensor:
    """Return a copy in which the element at `place` is replaced by the next larger float32."""
    changed = values.detach().clone(memory_format=torch.contiguous_format)
    flat = changed.view(-1)
    flat[place] = torch.nextafter(flat[place], torch.tensor(torch.inf))
    return changed


class NudgedGradient(torch.autograd.Function):
    """Identity function whose gradient has its largest element replaced by the next larger float32."""

    @staticmethod
    def forward(_context: Any, values: Tensor) -> Tensor:
        return values.clone()

    @staticmethod
    def backward(_context: Any, *gradients: Tensor) -> Tensor:
        return next_number(gradients[0], int(gradients[0].argmax()))


class Nudge(nn.Module):
    """ReLU that changes the last bit of one output element, or of one gradient element, in call number `at`."""

    def __init__(self, at: int = -1, *, gradient: bool = False) -> None:
        super().__init__()
        self.at, self.gradient, self.calls = at, gradient, 0

    def forward(self, maps: Tensor) -> Tensor:
        now, self.calls = self.calls == self.at, self.calls + 1
        if now and self.gradient:
            maps = NudgedGradient.apply(maps)  # type: ignore[no-untyped-call]
        output = maps.relu()
        if now and not self.gradient:
            output = output + (next_number(output, int(output.argmax())) - output).detach()
        return output


def test_a_repeated_training_is_equal_and_nothing_is_accused(against: Changed) -> None:
    found = against()
    assert (found.equal, found.difference, found.steps, found.notes, found.environment) == (True, None, 4, (), {})
    assert found.text().startswith("Everything recorded is equal to the bit: ")
    assert found.keep() == []
    assert all(each.differing == each.relative == each.loss_ulps == 0 for each in found.growth)


def test_one_bit_of_an_output_is_found_in_its_step_with_all_that_is_equal_before_it(
    against: Changed, tmp_path: Path
) -> None:
    found = against({"model": network(middle=Nudge())}, model=network(middle=Nudge(2)))
    difference = found.difference
    assert difference
    assert (difference.step, difference.phase, difference.name, difference.equal_steps) == (2, "forward", "2.output", 2)
    step = read_trace(tmp_path / "a.trace").steps[2]
    names = [each.tensor.name for each in step.events if "generator" not in each.tensor.name]
    assert difference.equal_tensors == names.index("2.output")
    assert "WHERE  step 2, forward pass: 2.output (Nudge)." in found.text()
    text = found.paragraph()
    assert "Equal to the bit before it: 2 steps (0 to 1); of " in text
    assert ", the last of them 2.input." in text
    assert codes(found) == ["module-option", "rounding", "forward-code"]
    assert "2: at=-1 and at=2" in found.text()
    assert found.keep() == [{"step": 2, "tensors": ["2.output"]}]


def test_a_bit_of_a_gradient_is_found_in_the_backward_pass(against: Changed) -> None:
    found = against({"model": network(middle=Nudge())}, model=network(middle=Nudge(1, gradient=True)))
    assert found.difference
    assert (found.difference.step, found.difference.phase) == (1, "backward")
    assert found.difference.name == "1.output.grad"
    assert codes(found) == ["rounding", "gradient"]


def test_another_loss_is_named_though_the_loop_records_it_after_the_backward_pass(against: Changed) -> None:
    found = against(loss=lambda scores, labels: nn.functional.cross_entropy(scores, labels, label_smoothing=0.1))
    assert found.difference
    assert (found.difference.step, found.difference.phase, found.difference.name) == (0, "loss", "loss")
    assert codes(found) == ["loss"]


def test_a_tensor_of_another_shape_is_said_with_both_shapes_and_has_no_elements_to_keep(against: Changed) -> None:
    found = against(loss=lambda scores, labels: nn.functional.cross_entropy(scores, labels)[None])
    assert found.difference
    assert found.difference.name == "loss"
    assert "It has the shape [] of float32 and [1] of float32." in found.paragraph()
    assert found.keep() == []


def test_an_option_of_the_optimizer_is_named_with_both_values(against: Changed) -> None:
    found = against(learning_rate=0.02)
    assert found.difference
    assert (found.difference.step, found.difference.phase, found.difference.name) == (0, "update", "0.weight")
    assert found.text().startswith("CAUSE  lr 0.01 and 0.02.\nWHERE  step 0, after the update: 0.weight (Conv2d).\n")
    assert (codes(found), found.verdict and found.verdict.certain) == (["optimizer-option"], True)


def test_a_buffer_that_the_loop_changes_is_named_as_one(against: Changed) -> None:
    def count(module: nn.Module, *_: object) -> None:
        module.num_batches_tracked += 1  # type: ignore[assignment, operator]

    model = network()
    model[1].register_forward_hook(count)
    found = against(model=model)
    assert found.difference
    assert (found.difference.phase, found.difference.name) == ("update", "1.num_batches_tracked")
    assert "rounding" not in found.paragraph()
    assert codes(found) == ["buffer"]
    assert "optimizer" not in found.text()


def test_clipping_is_found_between_gradients_and_update(tmp_path: Path) -> None:
    def clip(optimizer: torch.optim.Optimizer, *_: object) -> None:
        nn.utils.clip_grad_norm_([each for group in optimizer.param_groups for each in group["params"]], 1e-3)

    plain = record(tmp_path / "a.trace")
    handle = register_optimizer_step_pre_hook(clip)
    found = compare(plain, record(tmp_path / "b.trace"))
    handle.remove()
    assert found.difference
    assert found.difference.phase == "gradient"
    assert codes(found) == ["clipping"]
    assert "B alone changes gradients after the backward pass: all by one factor" in found.text()


def test_a_module_in_the_wrong_mode_is_named_before_any_number(against: Changed) -> None:
    found = against(before=lambda number, model: model[1].train(number != 1))
    assert found.difference
    assert (found.difference.step, found.difference.phase, found.difference.name) == (1, "mode", "1")
    assert found.text().startswith("CAUSE  in training mode in one alone: 1.\n")
    assert found.keep() == []


class Start(nn.Conv2d):
    """A layer that adds a number."""

    added = 0.0

    def forward(self, maps: Tensor) -> Tensor:
        return super().forward(maps) + self.added


def test_a_layer_that_is_called_start_is_no_state_before_a_step(tmp_path: Path) -> None:
    traces = []
    for added in (0.0, 1.0):
        torch.manual_seed(0)
        start = Start(3, 4, 3)
        start.added = added
        layers = OrderedDict(start=start, pool=nn.AdaptiveAvgPool2d(1), last=nn.Flatten())
        traces.append(record(tmp_path / f"{added}.trace", model=nn.Sequential(layers)))
    found = compare(*traces)
    assert "step 0, forward pass: start.output (Start)" in found.text()
    assert codes(found) == ["module-option", "forward-code"]


def test_other_initial_weights_are_found_before_the_first_step(against: Changed) -> None:
    found = against(model=network(seed=3))
    assert found.difference
    assert (found.difference.step, found.difference.name) == (0, "start.0.weight")
    assert codes(found) == ["initial-weights", "seed"]
    assert "rounding" not in found.paragraph()
    assert found.keep() == [{"step": 0, "tensors": ["start.0.weight"]}]


def move_weight(number: int, model: nn.Module) -> None:
    """Change the last bit of one weight before step 1."""
    if number == 1:
        with torch.no_grad():
            model[0].weight.copy_(next_number(model[0].weight))  # type: ignore[index]


@pytest.mark.parametrize("plain", [{"every": 2}, {}], ids=["both every second step", "one every step"])
def test_a_difference_in_steps_that_are_not_recorded_is_said_with_those_steps(
    plain: dict[str, Any], against: Changed
) -> None:
    found = against(plain, every=2, before=move_weight)
    assert found.difference
    assert (found.difference.step, found.difference.name) == (2, "start.0.weight")
    assert "something in steps 1 to 1, which are not in both" in found.text()
    assert found.keep() == []


def test_traces_with_every_step_and_every_second_one_are_compared_in_the_steps_of_both(against: Changed) -> None:
    found = against(every=2)
    assert (found.equal, found.steps) == (True, 2)
    (note,) = found.notes
    assert note.startswith("2 steps are in both traces; 2 more are in ")


def test_dropout_is_said_to_draw_other_numbers_where_the_generator_was_not_seeded(against: Changed) -> None:
    def seed(number: int, _model: nn.Module) -> None:
        torch.manual_seed(100 + number)

    found = against({"model": network(middle=nn.Dropout())}, model=network(middle=nn.Dropout()), before=seed)
    assert found.difference
    assert found.difference.name == "2.output"
    assert found.text().startswith("CAUSE  2 (Dropout) draws other random numbers: torch's seeds are 1 and 100.\n")


def test_generators_that_nobody_draws_from_are_no_difference(against: Changed) -> None:
    assert against(before=lambda number, _model: torch.manual_seed(100 + number)).equal


@pytest.mark.parametrize(
    "change",
    [
        lambda images: images.to(memory_format=torch.channels_last),
        lambda images: torch.stack([images, images], 1)[:, 0],
    ],
    ids=["of all axes", "of an axis of two images"],
)
def test_another_memory_format_is_named_where_it_begins(change: Callable[[Tensor], Tensor], against: Changed) -> None:
    plain = batches(images=2)
    read = with_images(plain, change)
    found = against({"model": network(middle=Nudge()), "read": plain}, model=network(middle=Nudge(0)), read=read)
    assert "other memory format, from images on" in found.text()


def test_what_a_loop_does_to_the_images_is_told_from_what_it_reads(against: Changed) -> None:
    found = against(prepare=lambda images: images * 2)
    assert found.difference
    assert (found.difference.phase, found.difference.name) == ("forward", f"{ROOT}.input")
    assert found.text().startswith("CAUSE  what the loop does to the batch before the model.\n")


class Between(nn.Sequential):
    """Network with multiplications between and after its layers, outside of any module."""

    between = after = 1.0

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self[0](images)
        return self[2](self[1](maps * self.between).flatten(1)) * self.after  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("place", "wrapped", "name", "sentence"),
    [
        ("between", False, "1.input", "what is computed between modules, before 1"),
        ("after", False, f"{ROOT}.output", "what the model (Between) computes"),
        ("after", True, "0.output", "what 0 (Between) computes"),
    ],
)
def test_what_a_model_computes_outside_of_its_modules_is_said(
    place: str, wrapped: bool, name: str, sentence: str, against: Changed
) -> None:
    models: list[nn.Module] = [Between(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(2), nn.Linear(16, 4)) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    setattr(models[1], place, 2.0)
    if wrapped:
        models = [nn.Sequential(OrderedDict([each])) for each in zip(("0", "other"), models, strict=True)]
    found = against({"model": models[0]}, model=models[1])
    assert found.difference
    assert found.difference.name == name
    assert sentence in found.paragraph()


def shuffled(read: list[Batch], order: Tensor | None = None) -> list[Batch]:
    """Return batches of the same size with the images in another order (default: reversed)."""
    images, labels = (torch.cat([batch[name] for batch in read]) for name in ("images", "labels"))
    order = torch.arange(len(images)).flip(0) if order is None else order
    size = len(read[0]["images"])
    return [{"images": images[each], "labels": labels[each]} for each in order.reshape(-1, size)]


def numbered(read: list[Batch], start: int = 0) -> list[Batch]:
    size = len(read[0]["images"])
    return [batch | {"indices": range(start + size * i, start + size * (i + 1))} for i, batch in enumerate(read)]


def named(read: list[Batch], suffix: str = "jpg") -> list[Batch]:
    return [batch | {"paths": [f"photos/{4 * i + j}.{suffix}" for j in range(4)]} for i, batch in enumerate(read)]


def with_images(read: list[Batch], change: Callable[[Tensor], Tensor]) -> list[Batch]:
    return [batch | {"images": change(batch["images"])} for batch in read]


PLAIN = batches()
WITHIN = shuffled(PLAIN, torch.arange(16).reshape(4, 4).flip(1).reshape(-1))
FLIPPED = with_images(PLAIN, lambda images: images.flip(3))
NOISY = with_images(PLAIN, lambda images: images + 1)
DECODED = with_images(PLAIN, lambda images: images + 1e-4)


@pytest.mark.parametrize(
    ("first", "second", "sentence"),
    [
        (PLAIN, WITHIN, "CAUSE  the order of images."),
        (PLAIN, shuffled(PLAIN), "CAUSE  the order of images."),
        (
            PLAIN,
            [*shuffled(PLAIN)[:3], *batches(1, 9)],
            "CAUSE  the order of images.",
        ),
        (
            PLAIN,
            batches(4, 9),
            "CAUSE  one of: the order of images; augmentation, by a generator that is not recorded; files",
        ),
        (numbered(PLAIN), numbered(batches(4, 9), 50), "CAUSE  the order of images: other indices were drawn."),
        (
            numbered(PLAIN),
            numbered(shuffled(PLAIN)),
            "CAUSE  the order in which files are listed: the same indices are other images.",
        ),
        (
            named(PLAIN),
            named(batches(4, 9), "png"),
            "CAUSE  the order of images, or other files: their names differ.",
        ),
        (named(PLAIN), named(FLIPPED), "CAUSE  one of: augmentation, such as a flip, by a generator"),
        (
            numbered(PLAIN),
            numbered(NOISY),
            "CAUSE  one of: augmentation, by a generator that is not recorded; files with other content.",
        ),
        (PLAIN, batches(4, images=8), "CAUSE  the batch size, or where a batch ends."),
        (PLAIN, with_images(PLAIN, lambda images: images[..., :-1]), "CAUSE  other size or dtype of images."),
        (
            PLAIN,
            [batch | {"labels": 3 - batch["labels"]} for batch in PLAIN],
            "CAUSE  other labels by what they are read from or by their own order.",
        ),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_what_differs_of_the_images_is_named_as_far_as_hashes_indices_and_paths_tell(
    first: list[Batch], second: list[Batch], sentence: str, against: Changed
) -> None:
    found = against({"read": first}, read=second)
    assert found.difference
    assert (found.difference.step, found.difference.phase) == (0, "data")
    assert f"WHERE  step 0, its batch: {found.difference.name}" in found.text()
    assert sentence in found.text()


def test_one_image_of_a_batch_is_counted(against: Changed) -> None:
    read = batches()
    read[2]["images"] = next_number(read[2]["images"])
    found = against(read=read)
    assert found.difference
    assert (found.difference.step, found.difference.equal_steps) == (2, 2)
    assert "WHERE  step 2, its batch: images, images 0." in found.text()
    assert codes(found) == ["augmentation", "files", "order"]


def test_pixels_of_another_decoder_are_told_from_augmentation_by_the_heads(tmp_path: Path) -> None:
    record(tmp_path / "a.trace", read=named(PLAIN))
    record(tmp_path / "near.trace", read=named(DECODED))
    record(tmp_path / "far.trace", read=named(NOISY))
    head = {"jpeg": "libjpeg-turbo 3.0", "pillow": "11"}
    first = edit_head(tmp_path / "a.trace", jpeg="libjpeg 9", pillow="11")
    near, far = (compare(first, edit_head(tmp_path / f"{name}.trace", **head)) for name in ("near", "far"))
    assert near.text().startswith("CAUSE  one of: decoding or resizing by jpeg libjpeg 9 and libjpeg-turbo 3.0; ")
    assert codes(far) == ["augmentation", "decoding", "files"]
    assert near.environment == {"jpeg": ("libjpeg 9", "libjpeg-turbo 3.0")}


def test_images_that_are_a_multiple_of_others_are_prepared_otherwise(against: Changed) -> None:
    found = against({"read": numbered(PLAIN)}, read=numbered(with_images(PLAIN, lambda images: images * 0.99)))
    assert found.text().startswith("CAUSE  how images are prepared: all values are 0.99 times")


def test_a_generator_that_an_augmentation_draws_from_is_named(against: Changed) -> None:
    def reading(seed: int) -> Any:
        torch.manual_seed(seed)
        for batch in numbered(PLAIN):
            yield batch | {"images": batch["images"] + torch.rand(())}

    found = against({"read": reading(5)}, read=reading(6))
    assert found.text().startswith("CAUSE  one of: augmentation (torch's seeds are 5 and 6); ")
    # A loop that seeds between reading and training hides it.
    seeds = {"before": lambda *_: torch.manual_seed(1)}
    hidden = against(seeds | {"read": reading(5)}, **seeds, read=reading(6))
    assert hidden.text().startswith("CAUSE  one of: augmentation, by a generator that is not recorded; ")


def test_entries_of_the_heads_that_differ_are_listed_with_both_values(tmp_path: Path) -> None:
    record(tmp_path / "a.trace", model=network(middle=Nudge()))
    record(tmp_path / "b.trace", model=network(middle=Nudge(1)))
    first = edit_head(tmp_path / "a.trace", threads=1, MKL_CBWR=None)
    found = compare(first, edit_head(tmp_path / "b.trace", threads=2, MKL_CBWR="AVX2"))
    assert "The heads differ in: threads 1 and 2; MKL_CBWR absent and AVX2." in found.paragraph()
    assert "explain" not in found.paragraph()
    equal = compare(first, edit_head(tmp_path / "a.trace", threads=4))
    assert equal.equal
    assert "The heads differ in: threads 1 and 4." in equal.paragraph()


def test_a_model_with_other_names_is_compared_by_the_order_of_execution(against: Changed) -> None:
    model = network(middle=Nudge())
    found = against({"model": nn.Sequential(model)}, model=nn.Sequential(network(middle=Nudge())))
    assert found.equal
    wrapped = nn.Sequential()
    wrapped.add_module("module", network(middle=Nudge(1)))
    found = against({"model": nn.Sequential(network(middle=Nudge()))}, model=wrapped)
    assert found.difference
    assert (found.difference.step, found.difference.name) == (1, "0.2.output")
    assert found.keep() == [{"step": 1, "tensors": [name]} for name in ("0.2.output", "module.2.output")]
    assert any("compared by their place in the order of execution" in note for note in found.notes)


def test_a_model_with_another_layer_is_another_architecture_and_what_it_has_alone_is_listed(against: Changed) -> None:
    longer = network()
    longer.append(nn.Linear(4, 4))
    found = against(model=longer)
    assert found.difference
    assert (found.difference.phase, found.difference.name) == ("data", "start.6.weight")
    assert found.text().startswith("CAUSE  other models: 6.weight absent and [4, 4].\n")
    notes = " ".join(found.notes)
    assert 'the modules of the heads differ: ["6", "Linear"]' in notes
    assert "b.trace has start.6.weight" not in notes
    assert "only " in notes
    assert "6.input" in notes


def test_traces_without_a_common_step_or_tensor_are_refused(tmp_path: Path) -> None:
    first, second = (record(tmp_path / f"{name}.trace", steps=steps) for name, steps in (("a", [0]), ("b", [1, 2, 3])))
    with pytest.raises(
        ValueError, match=r"no step in common: .*a\.trace has steps 0 to 0 and .*b\.trace has steps 1 to 3"
    ):
        compare(first, second)
    empty = replace(first, steps=())
    with pytest.raises(ValueError, match=r"a\.trace has no whole step"):
        compare(empty, second)
    drawn = tuple(each for each in first.steps[0].events if each.tensor.name.startswith("generator."))
    assert drawn
    for events in ((), drawn):
        with pytest.raises(ValueError, match="have no tensor in common"):
            compare(first, replace(first, steps=(replace(first.steps[0], events=events),)))
    bare = replace(second, steps=tuple(replace(step, number=step.number - 1, events=()) for step in second.steps))
    with pytest.raises(ValueError, match="have no tensor in common"):
        compare(first, bare)


def test_a_trace_that_a_kill_cut_is_compared_up_to_its_last_whole_step(tmp_path: Path) -> None:
    first = record(tmp_path / "a.trace")
    (tmp_path / "b.trace").write_bytes((tmp_path / "a.trace").read_bytes()[:-10])
    found = compare(first, read_trace(tmp_path / "b.trace"))
    assert (found.equal, found.steps) == (True, 3)
    assert found.notes[0].endswith("b.trace ends within a line, as its process was stopped: that step is not compared")


def test_another_order_of_execution_is_said(against: Changed) -> None:
    class Either(nn.Sequential):
        order = (0, 1)

        def forward(self, images: Tensor) -> Tensor:
            parts = {i: self[i](images) for i in self.order}
            return torch.add(parts[0], parts[1]).mean((2, 3))

    def make(*order: int) -> Either:
        torch.manual_seed(0)
        model = Either(nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3))
        model.order = order  # type: ignore[assignment]
        return model

    found = against({"model": make(0, 1)}, model=make(1, 0))
    assert [note for note in found.notes if note.startswith("in step 0 tensors are computed in another order")] != []


def ulps_by_numpy(first: float, second: float) -> int:
    """Return the number of float32 steps from `first` to `second`."""
    value, end = np.float32(first), np.float32(second)
    count = 0
    while value != end:
        value, count = np.nextafter(value, end), count + 1
    return count


def test_the_growth_has_the_ulps_of_the_loss_and_the_relative_difference_of_the_parameters(tmp_path: Path) -> None:
    losses: dict[str, list[float]] = {"a": [], "b": []}
    states: dict[str, list[dict[str, Any]]] = {"a": [], "b": []}

    def run(name: str, learning_rate: float) -> Any:
        def loss(scores: Tensor, labels: Tensor) -> Tensor:
            value = nn.functional.cross_entropy(scores, labels)
            losses[name].append(value.item())
            return value

        def note(_number: int, model: nn.Module) -> None:
            states[name].append({key: value.double().numpy().copy() for key, value in model.state_dict().items()})

        model = network()
        path = tmp_path / f"{name}.trace"
        trace = record(path, model=model, loss=loss, before=note, learning_rate=learning_rate)
        note(4, model)
        return trace

    found = compare(run("a", 0.01), run("b", 0.010001))
    for step, growth in enumerate(found.growth):
        first, second = losses["a"][step], losses["b"][step]
        assert growth.loss_ulps == ulps_by_numpy(first, second)
        assert growth.loss == pytest.approx((first, second), rel=1e-8)
        assert growth.relative_loss == pytest.approx(abs(first - second) / max(first, second))
        after = [states[name][step + 1] for name in "ab"]
        norms = [{key: float(np.linalg.norm(each)) for key, each in side.items()} for side in after]
        far = [
            float(np.linalg.norm(after[0][key] - after[1][key])) / (max(norms[0][key], norms[1][key]) or 1)
            for key in norms[0]
        ]
        # Of an estimate by eight sums.
        assert max(far) / 3 < growth.relative < 3 * max(far)
    assert found.growth[0].loss_ulps == 0
    assert min(each.loss_ulps or 0 for each in found.growth[1:]) > 0


def test_a_comparison_is_json_values(against: Changed) -> None:
    document = against(learning_rate=0.02).to_json()
    assert [Path(document[key]).name for key in ("first", "second")] == ["a.trace", "b.trace"]
    assert document["difference"]["name"] == "0.weight"
    assert document["difference"]["first"]["tensor"]["shape"] == (4, 3, 3, 3)
    assert [row["step"] for row in document["growth"]] == [0, 1, 2, 3]
    assert document["keep"] == [{"step": 0, "tensors": ["0.weight"]}]


def test_a_loss_that_is_not_finite_has_no_distance_and_is_none_in_json(against: Changed) -> None:
    found = against(loss=lambda scores, labels: nn.functional.cross_entropy(scores, labels) * torch.inf)
    assert found.difference
    assert (found.difference.name, found.growth[0].loss_ulps, found.growth[0].relative_loss) == ("loss", None, None)
    assert "Of its values 0 and 1 are not finite." in found.paragraph()
    assert json.dumps(found.to_json()["growth"][0]["loss"], allow_nan=False).endswith(", null]")
