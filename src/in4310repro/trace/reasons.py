"""Causes of a tensor that differs although all that it is computed from is equal, as far as it was recorded."""

import math
from collections.abc import Iterator, Sequence

import torch

from in4310repro.trace.evidence import (
    Cause,
    Context,
    Findings,
    changed_words,
    describe_generators,
    different_options,
    drawn_before,
    fact,
    numeric_environment,
    optimizer_options,
    pair_of,
    rounding_causes,
    seeds,
)
from in4310repro.trace.facts import DRAWING, MAY_DRAW
from in4310repro.trace.gaps import shorten
from in4310repro.trace.inputs import input_causes
from in4310repro.trace.pairs import MODE, OPTIMIZER, START, different_modes, factor, is_start, start_of
from in4310repro.trace.records import BACKWARD, DATA, FORWARD, GRADIENT, LOSS, UPDATE, Event

# Options of modules and optimizers that change no value, or only later ones.
INERT_OPTIONS = ("inplace=", "momentum=", "track_running_stats=")
INERT_GROUPS = {"foreach", "fused", "differentiable", "capturable", "initial_lr", "of", "parameters"}


def find_causes(context: Context) -> Findings:
    """Return the causes of the first difference of two traces, likeliest first."""
    found = context.found
    if found.phase == MODE:
        return fact("mode", f"in training mode in one alone: {shorten(different_modes(context.traces, context.pair))}")
    if is_start(found.phase, found.name):
        return _start_causes(context)
    if found.phase == DATA:
        return input_causes(context)
    by_phase = {
        FORWARD: _forward_causes,
        LOSS: _loss_causes,
        BACKWARD: _backward_causes,
        GRADIENT: _gradient_causes,
        UPDATE: _update_causes,
    }
    findings = by_phase[found.phase](context)
    options = _active_options(context)
    if found.phase == UPDATE or not options:
        return findings
    # An optimizer with a closure changes parameters between the calls of the model in one step.
    option = Cause("optimizer-option", _describe_options(options))
    causes = (option, *findings.causes) if "@" in found.name else (*findings.causes, option)
    return Findings(causes, certain=findings.certain and "@" not in found.name)


def _start_causes(context: Context) -> Findings:
    found, pair = context.found, context.pair
    if not found.first or not found.second:
        return _one_sided_start(context)
    differing = [a.tensor.name for a, b in pair.events if is_start(a.tensor.phase, a.tensor.name) and a.hash != b.hash]
    all_names = [a.tensor.name for a, b in pair.events if is_start(a.tensor.phase, a.tensor.name)]
    if found.equal_steps:
        last = context.pairs[found.equal_steps - 1].number
        if last == found.step - 1:
            return fact(
                "edited", f"{shorten(_plain(differing))} changed between steps {last} and {found.step}, differently"
            )
        return Findings(
            (Cause("not-recorded", f"something in steps {last + 1} to {found.step - 1}, which are not in both"),)
        )
    if shapes := _other_architecture(context):
        return Findings((Cause("architecture", f"other models: {shapes}"),))
    if found.step:
        return Findings((Cause("not-recorded", f"something before step {found.step}, the first that both have"),))
    return Findings(tuple(_first_start(context, differing, len(all_names))))


def _other_architecture(context: Context) -> str:
    """Return a parameter at the start that has other shapes or only one of the models has; empty if there is none."""
    a, b = ({name: list(each.tensor.shape) for name, each in start_of(step).items() if not name.startswith(OPTIMIZER)}
            for step in (context.pair.first, context.pair.second))  # fmt: skip
    return next(
        (f"{name} {pair_of((a.get(name), b.get(name)))}" for name in [*a, *b] if a.get(name) != b.get(name)), ""
    )


def _plain(names: Sequence[str]) -> list[str]:
    return [each.removeprefix(START) for each in names]


def _one_sided_start(context: Context) -> Findings:
    pair, found = context.pair, context.found
    lacks = 1 if found.first else 0
    names = [each.tensor.name.removeprefix(START) for each in pair.alone[1 - lacks]]
    which, other = "AB"[lacks], "AB"[1 - lacks]
    of_optimizer = [each for each in names if each.startswith(OPTIMIZER)]
    whole = any(is_start(a.tensor.phase, a.tensor.name) for a, _ in pair.events)
    if of_optimizer and whole and len(of_optimizer) == len(names):
        return fact(
            "optimizer-state", f"{which} began without optimizer state: {len(of_optimizer)} tensors that {other} has"
        )
    if whole and (other_model := _other_architecture(context)):
        return fact("architecture", f"other models: {other_model}")
    buffers = [each for each in names if "running_" in each or "num_batches" in each]
    how = ", as by a forward pass in training mode" if len(buffers) == len(names) else ""
    last = found.step - 1
    return fact("edited", f"{other} alone changed {shorten(names)} between steps {last} and {found.step}{how}")


def _first_start(context: Context, differing: Sequence[str], number: int) -> Iterator[Cause]:
    """Yield why two trainings begin with other weights."""
    found = context.found
    assert found.first and found.second  # noqa: S101, PT018 - for the type checker
    if context.size < 1e-5 and context.is_rounding and numeric_environment(context.environment):
        yield from rounding_causes(context)
        return
    ratio = factor(found.first, found.second)
    if ratio is not None:
        yield Cause(
            "initial-weights", f"how weights are initialised: {shorten(_plain(differing), 1)} is {ratio:.6g} times"
        )
        return
    which = shorten(_plain(differing), 2) if len(differing) <= number // 2 else "the weights"
    generators = describe_generators(context.until[-1:])
    if seed := seeds(context.pair):
        yield Cause("seed", seed)
    elif generators:
        yield Cause("seed", f"numbers drawn before {which}, or the seed ({generators})")
    yield Cause("initial-weights", f"how {which} were initialised, or the file that has them")
    if not seed and not generators:
        yield Cause("seed", "the seed that they were drawn with")


def _forward_causes(context: Context) -> Findings:
    found = context.found
    module, kind = context.module_of(found.name)
    if found.name.startswith(f"{module or 'model'}.input") and not module:
        return _model_input_causes(context)
    layer = dict(context.traces[0].modules).get(module, kind)
    of = {name: values for name, values in different_options(context.pair).items() if name == (module or "model")}
    known = layer and hasattr(torch.nn, layer)
    causes = list(_computation_causes(context, module, layer))
    if ".output" in found.name and known and of:
        words = changed_words(*of[module or "model"])
        if not all(each.strip().startswith(INERT_OPTIONS) for each in words.split(", ")):
            return Findings(tuple(causes), certain=True)
    drawing = len(causes) == 1 and causes[0].code == "randomness" and bool(drawn_before(context))
    return Findings(tuple(causes), certain=drawing)


def _computation_causes(context: Context, module: str, layer: str) -> Iterator[Cause]:
    """Yield why an input or output of a module differs."""
    found, options = context.found, different_options(context.pair)
    own = options.get(module or "model")
    is_output = ".output" in found.name
    if own and is_output:
        yield Cause("module-option", f"{module or 'the model'}: {changed_words(*own)}")
    kinds = [dict(trace.modules).get(module) for trace in context.traces]
    if kinds[0] != kinds[1] and None not in kinds and not own:
        yield Cause("architecture", f"{module} is {pair_of((kinds[0], kinds[1]))}")
    yield from _dtype_causes(context)
    draw = None if is_output and _never_draws(layer) else _drawing_cause(context, module, layer)
    if draw:
        yield draw
        if any(part in layer for part in DRAWING) and is_output:
            return
    if context.is_rounding:
        yield from rounding_causes(context)
        if not numeric_environment(context.environment):
            yield _code_cause(module, layer, is_output=is_output)
        return
    enclosing = [name for name in options if name != (module or "model") and _encloses(name, module)]
    if enclosing and not own:
        yield Cause("module-option", f"{enclosing[-1]}: {changed_words(*options[enclosing[-1]])}")
    if not (own and hasattr(torch.nn, layer)):
        yield _code_cause(module, layer, is_output=is_output)


def _never_draws(layer: str) -> bool:
    """Return whether a class is one of torch.nn that draws nothing."""
    return hasattr(torch.nn, layer or "-") and not any(part in layer for part in (*DRAWING, *MAY_DRAW))


def _encloses(name: str, module: str) -> bool:
    return name == "model" or module.startswith(f"{name}.")


def _code_cause(module: str, layer: str, *, is_output: bool) -> Cause:
    if not is_output:
        return Cause("forward-code", f"what is computed between modules, before {module}")
    return Cause("forward-code", f"what {module or 'the model'} ({layer}) computes, or a parameter edited in the step")


def _dtype_causes(context: Context) -> Iterator[Cause]:
    a, b = context.found.first, context.found.second
    casts = context.pair.facts("autocast")
    if casts[0] != casts[1]:
        yield Cause("autocast", f"autocast {pair_of(casts)}")
    elif a and b and a.tensor.dtype != b.tensor.dtype:
        yield Cause("dtype", f"dtypes {a.tensor.dtype} and {b.tensor.dtype}")
    elif context.shapes and context.found.phase == FORWARD:
        yield Cause("architecture", f"shapes {context.shapes}")


def _drawing_cause(context: Context, module: str, layer: str) -> Cause | None:
    """Return that other random numbers are drawn, if torch's generator differs at the difference; None if not."""
    is_output, draws = ".output" in context.found.name, any(part in layer for part in DRAWING)
    place, shown = drawn_before(context), f"{module or 'the model'} ({layer})"
    if not place:
        unexplained = draws and is_output and not different_options(context.pair).get(module)
        return Cause("randomness", f"{shown} draws from a generator that is not recorded") if unexplained else None
    why = seeds(context.pair) if place == "start" else f"others are drawn before {place}"
    why = why or "torch's generator is in another state"
    if draws and is_output:
        return Cause("randomness", f"{shown} draws other random numbers: {why}")
    return Cause("randomness", f"random numbers drawn in the forward pass: {why}")


def _model_input_causes(context: Context) -> Findings:
    """Return why the model gets other inputs although recorded batches are equal."""
    pair, found = context.pair, context.found
    sides = [{each.hash for each in step.events if each.tensor.phase == DATA} for step in (pair.first, pair.second)]
    batch = any("images" in a.tensor.name for a, _ in pair.events if a.tensor.phase == DATA)
    given = [
        each is not None and each.hash in hashes
        for each, hashes in zip((found.first, found.second), sides, strict=True)
    ]
    drawn = seeds(pair) or describe_generators(context.until)
    if any(given):
        return Findings((Cause("input", "what the loop does to the batch before the model"), *_dtype_causes(context)))
    if context.shapes:
        return Findings((Cause("batch-size", f"the model's input has the shapes {context.shapes}"),))
    what = "an input that is not the recorded batch" if batch else "what the program reads itself"
    causes = [Cause("input", f"{what}{f' ({drawn})' if drawn and not batch else ''}")]
    if drawn:
        causes.insert(0, Cause("seed", f"{drawn}: the program draws its inputs"))
    return Findings(tuple(causes))


def _loss_causes(context: Context) -> Findings:
    found, pair = context.found, context.pair
    options = {
        name: each
        for name, each in different_options(pair).items()
        if f"{name}.input" in found.name or _is_loss(context, name)
    }
    if options:
        name, values = next(iter(options.items()))
        return fact("loss", f"{name}: {changed_words(*values)}")
    if ".input" in found.name and context.shapes:
        return fact("loss", f"the loss gets tensors of shapes {context.shapes}")
    if ".input[1]" in found.name:
        return fact("labels", "the loss gets other targets")
    causes = [*_dtype_causes(context)]
    ratio = _ratio_of_losses(context)
    if ratio:
        causes.append(Cause("scale", f"the loss is {_times(ratio)}: reduction, accumulation or scaling"))
    elif context.is_rounding:
        causes += rounding_causes(context)
    if not ratio:
        causes.append(Cause("loss", "how the loss is computed, or labels that are not recorded"))
    if drawn := describe_generators(context.until):
        causes.append(Cause("randomness", f"random numbers drawn for the loss ({drawn})"))
    return Findings(tuple(causes))


def _is_loss(context: Context, name: str) -> bool:
    """Return whether a module is not part of the model, as losses are."""
    return name not in {each or "model" for trace in context.traces for each, _ in trace.modules}


def _ratio_of_losses(context: Context) -> float | None:
    """Return the ratio of two losses if it is, or its inverse is, a whole number from 2 on; otherwise None."""
    name = context.found.name
    a, b = (step.losses.get(name) for step in (context.pair.first, context.pair.second))
    if not a or not b or not math.isfinite(a) or not math.isfinite(b):
        return None
    return _whole(b / a)


def _whole(ratio: float) -> float | None:
    size = abs(ratio) if abs(ratio) >= 1 else 1 / abs(ratio) if ratio else 1.0
    return ratio if round(size) >= 2 and abs(size - round(size)) < 1e-5 * size else None


def _times(ratio: float) -> str:
    return f"{ratio:.6g} times as large" if abs(ratio) >= 1 else f"1/{1 / ratio:.6g}"


def _frozen_cause(context: Context) -> Cause | None:
    frozen = [set(each) for each in context.pair.facts("frozen", [])]
    if frozen[0] == frozen[1]:
        return None
    alone = sorted(frozen[0] - frozen[1]), sorted(frozen[1] - frozen[0])
    which = 0 if alone[0] else 1
    return Cause("frozen", f"{shorten(alone[which])} frozen in {'AB'[which]} alone")


def _backward_causes(context: Context) -> Findings:
    found = context.found
    frozen = _frozen_cause(context)
    if frozen and not found.first:
        return Findings((frozen,), certain=True)
    causes = [*_dtype_causes(context)]
    passes = [
        sum(each.tensor.name.partition("@")[0] == "loss" for each in step.events)
        for step in (context.pair.first, context.pair.second)
    ]
    if passes[0] != passes[1]:
        return fact("accumulation", f"backward passes before the optimizer's step: {passes[0]} and {passes[1]}")
    ratio = factor(found.first, found.second) if found.first and found.second else None
    parameter = context.has(f"{found.name.removesuffix('.grad')}.used_grad", [GRADIENT])
    if ratio:
        causes.append(
            Cause("scale", f"the gradient is {ratio:.6g} times: reduction, accumulation or scaling of the loss")
        )
    elif context.is_rounding:
        causes += rounding_causes(context)
    elif parameter and context.found.step:
        causes.append(Cause("accumulation", "a gradient left from the step before, in one alone (zero_grad)"))
    if not ratio and not (context.is_rounding and numeric_environment(context.environment)):
        causes.append(Cause("gradient", "how a gradient is computed, by a function or hook of the program"))
    return Findings(tuple(causes))


def _gradient_causes(context: Context) -> Findings:
    """Return what changes gradients between the backward pass and the optimizer."""
    pair = context.pair
    frozen = _frozen_cause(context)
    used = [(a, b) for a, b in pair.events if a.tensor.phase == GRADIENT and a.hash != b.hash]
    factors = [ratio for a, b in used if (ratio := factor(a, b)) is not None]
    sides = [step for step in (pair.first, pair.second) if _changes_gradients(step.events)]
    alone = (
        f"{'A' if sides[0] is pair.first else 'B'} alone changes gradients after the backward pass"
        if len(sides) == 1
        else ""
    )
    processes = context.environment.get("processes")
    if processes:
        return Findings((Cause("processes", f"processes {pair_of(processes)}, whose gradients are averaged"),))
    text, what = (
        alone or "what changes gradients after the backward pass",
        "clipping of values, noise or an exchange among processes",
    )
    if factors and max(factors) - min(factors) < 1e-3 * abs(max(factors)):
        what = f"all by one factor ({factors[0]:.4g}), as by clipping the norm or unscaling"
    return Findings((*([frozen] if frozen else []), Cause("clipping", f"{text}: {what}")))


def _changes_gradients(events: Sequence[Event]) -> bool:
    """Return whether the gradients that an optimizer uses are not those of the backward pass."""
    last = {each.tensor.name.partition("@")[0]: each.hash for each in events if each.tensor.phase == BACKWARD}
    return any(
        last.get(name, each.hash) != each.hash
        for each in events
        if each.tensor.phase == GRADIENT and (name := each.tensor.name.replace(".used_grad", ".grad"))
    )


def _update_causes(context: Context) -> Findings:
    found = context.found
    options, frozen = optimizer_options(context.pair), _frozen_cause(context)
    name = found.name.partition("@")[0]
    is_state = name.startswith(OPTIMIZER) and name.partition(".")[0].removeprefix(OPTIMIZER).isdigit() | ("." in name)
    has_gradient = context.has(f"{name}.used_grad", [GRADIENT]) or context.has(f"{name}.grad", [BACKWARD])
    if frozen and name in {*context.pair.facts("frozen", [])[0]} ^ {*context.pair.facts("frozen", [])[1]}:
        return Findings((frozen,), certain=True)
    if not has_gradient and not is_state:
        return Findings(tuple(_buffer_causes(context, name)))
    causes = [frozen] if frozen else []
    active = _active_options(context)
    if "class" in active:
        return fact("optimizer", f"optimizers {pair_of(active['class'])}")
    if active:
        causes.insert(0, Cause("optimizer-option", _describe_options(active)))
        single = all(len(trace.header["optimizers"]) == 1 for trace in context.traces)
        return Findings(tuple(causes), certain=single)
    if "of" in options or "parameters" in options:
        causes.append(Cause("optimizer", "parameters are in other groups, or in another order"))
    if rest := ", ".join(f"{key} {pair_of(values)}" for key, values in options.items() if key in ("foreach", "fused")):
        causes.append(Cause("optimizer-option", rest))
    if context.is_rounding:
        causes += rounding_causes(context)
    if not causes or not context.is_rounding:
        causes.append(Cause("update", "what the optimizer's step computes, or its state"))
        causes.append(Cause("edited", "parameters changed after the optimizer's step"))
    return Findings(tuple(causes))


def _active_options(context: Context) -> dict[str, tuple[object, object]]:
    """Return the options of optimizers that differ and change values."""
    return {key: values for key, values in optimizer_options(context.pair).items() if key not in INERT_GROUPS}


def _describe_options(options: dict[str, tuple[object, object]]) -> str:
    return ", ".join(f"{key} {pair_of(values)}" for key, values in options.items())


def _buffer_causes(context: Context, name: str) -> Iterator[Cause]:
    """Yield why a buffer, or a parameter without a gradient, differs after a step."""
    module = name.rpartition(".")[0]
    options = different_options(context.pair)
    if module in options:
        yield Cause("module-option", f"{module}: {changed_words(*options[module])}")
        return
    if context.is_rounding:
        yield from rounding_causes(context)
    if "running_" in name or "num_batches" in name:
        yield Cause(
            "buffer", "other running statistics: more forward passes in training mode, or the program writes them"
        )
    else:
        yield Cause("buffer", "a buffer, or parameter without gradient, that a module or the loop changes")
