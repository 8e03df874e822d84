"""Replay of a run: epochs are chosen and trained again from the states that the run saved (docs/verification.md).

Its first steps are also taken for `trace.explain`.
"""

import math
import secrets
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from in4310repro.arithmetic import shares
from in4310repro.data.images import training_batches
from in4310repro.evaluation.prediction import refuse_too_large
from in4310repro.runs import chain, names, settings
from in4310repro.runs.finished import FinishedRun, image_root
from in4310repro.runs.record_types import SPEED, EpochHashes, HistoryRow
from in4310repro.system import files, schema, signals
from in4310repro.system.context import Context
from in4310repro.system.numerics import Numerics, activate, generator_for
from in4310repro.system.tensors import Tensors, tensors_sha256
from in4310repro.training import checkpoints
from in4310repro.training.step_log import StepTrace
from in4310repro.training.training import Epochs, TrainingInputs
from in4310repro.verification.compare import describe_replay, traced_steps
from in4310repro.verification.file_checks import pixel_differences
from in4310repro.verification.results import known_differences


class EpochRecord(NamedTuple):
    """The record of one epoch: its entry in the hash chain and its history row."""

    entry: EpochHashes
    row: HistoryRow


# The saved state after an epoch: weights and buffers, and the optimizer's tensors, named `INDEX.NAME`.
Kept = tuple[Tensors, Tensors]


def read_kept(folder: Path, setting: str, before: EpochHashes) -> Kept:
    """Read the state saved after an epoch, and check its hashes against the epoch's record.

    Raises:
        ValueError: the file is damaged, or its state does not have the recorded hashes; the message names the
            epoch.
    """
    return checkpoints.read_kept_epoch(files.path_below(folder, names.kept_epoch(setting, before["epoch"])), before)


def train_again(
    inputs: TrainingInputs,
    recorded: EpochRecord,
    kept: Kept | None,
    interrupted: Callable[[], bool] = lambda: False,
    trace: Path = Path(),
    traced: Collection[int] = (),
) -> EpochRecord:
    """Train an epoch again and return its new record.

    Args:
        inputs: the inputs of the training, with the network as it was before the epoch.
        recorded: the run's record of the epoch.
        kept: the state before the epoch; None for the first epoch.
        interrupted: called after each step; training ends if it returns true.
        trace: the file for the trace.
        traced: the steps to trace, by their numbers from 0.

    Raises:
        ValueError: a loss is not finite, or the kept state does not fit the network or the optimizer.
        KeyboardInterrupt: `interrupted` returned true.
    """
    epochs, epoch = Epochs(inputs, interrupted), recorded.entry["epoch"]
    if kept:
        checkpoints.load_into(*kept, epochs.model, epochs.optimizer, f"the kept state after epoch {epoch - 1}")
    epochs.position = checkpoints.Position(epoch=epoch - 1)
    with StepTrace(epochs.model, epochs.optimizer, trace, traced) if traced else nullcontext() as epochs.trace:
        row = epochs.validate(*epochs.train())
    state = checkpoints.optimizer_tensors(epochs.optimizer)
    return EpochRecord(chain.entry(epoch, recorded.entry["previous"], epochs.model.state_dict(), state), row)


def compare_records(recorded: EpochRecord, computed: EpochRecord) -> Iterator[str]:
    """Yield a clause for each difference between two records of an epoch, except in training speed."""
    saved, now = recorded.entry, computed.entry
    if other := [*schema.differences(saved["tensors"], now["tensors"])]:
        yield f"{len(other)} of {len(saved['tensors'])} tensors differ, the first is {other[0].path}"
    elif saved["weights_sha256"] != now["weights_sha256"]:
        yield f"weights_sha256 is {saved['weights_sha256']}, and {now['weights_sha256']} now"
    if saved["optimizer_sha256"] != now["optimizer_sha256"]:
        yield "the optimizer state differs"
    for each in known_differences(recorded.row, computed.row, {SPEED: None, "weights_sha256": None}):
        yield f"{each.path} is {each.first} in {names.HISTORY}, and {each.second} now"


class MissingStateError(ValueError):
    """Error raised if the state before an epoch is unavailable."""


def read_start(run: FinishedRun, setting: settings.OptimizerSetting, epoch: int) -> tuple[torch.nn.Module, Kept | None]:
    """Return the network as it was before an epoch of a setting, and the state saved before that epoch.

    For epoch 1, the state is None, and the network has the weights with which the setting began: the initial
    weights of the run, or the last weights of the previous setting.

    Raises:
        ValueError: the saved state is damaged, or the state or the weights do not have the recorded hashes.
        MissingStateError: the state was not saved, or the weights before epoch 1 cannot be read.
    """
    if epoch > 1:
        file = run.folder / names.kept_epoch(setting.name, epoch - 1)
        if not file.exists():
            raise MissingStateError(_describe_missing(run, setting.name, "it"))
        kept = read_kept(run.folder, setting.name, run.tensors[setting.name][epoch - 2])
        return run.restore(kept[0], f"{file}"), kept
    expected, source = run.fingerprint.get("initial_weights_sha256"), "the initial weights"
    try:
        if before := run.config.setting_before(setting):
            name = f"{before}/{names.LAST_WEIGHTS}"
            expected, source = run.tensors[before][-1]["weights_sha256"], f"{run.folder / name}"
            model = run.restore(run.files.read_tensors(name), source)
        else:
            model = run.initial_network()
    except ValueError as error:
        raise MissingStateError(str(error)) from None
    if (found := tensors_sha256(model.state_dict())) != expected:
        raise ValueError(f"{source} have sha256 {found}; expected {expected}, from which the training started")
    return model, None


def describe_missing_epochs(run: FinishedRun, setting: str, epochs: Iterable[int]) -> str:
    """Return a clause that lists the epochs whose starting state was not saved; empty if all were saved."""
    before = {f"{epoch}": names.kept_epoch(setting, epoch - 1) for epoch in epochs if epoch > 1}
    missing = [epoch for epoch, name in before.items() if not (run.folder / name).exists()]
    return _describe_missing(run, setting, f"epoch {', '.join(missing)}") if missing else ""


def _describe_missing(run: FinishedRun, setting: str, epochs: str) -> str:
    return f"{run.folder / setting / names.KEPT_EPOCHS} has no state before {epochs}; train --keep-epochs keeps them"


class Plan(NamedTuple):
    """The epochs of an optimizer setting that a replay trains again, counted from 1."""

    setting: str
    known: tuple[int, ...]  # the first, the last and the selected one, in order
    drawn: tuple[int, ...]  # from the others, in order
    others: int  # epochs that are not known, drawn or not
    seed: int  # of the draw

    @property
    def epochs(self) -> list[int]:
        """All epochs to train again, in ascending order."""
        return sorted((*self.known, *self.drawn))


def make_plan(setting: str, epochs: int, selected: int, draws: int, seed: int) -> Plan:
    """Choose the epochs of a setting to train again: the first, the last, the selected and some random ones.

    The random epochs depend only on the seed, and every set of them is equally likely. Each remaining epoch gets
    a random number, and the epochs with the smallest numbers are chosen.

    Args:
        setting: the name of the setting.
        epochs: number of epochs of its training.
        selected: the epoch whose weights scored the test set, from 1.
        draws: number of random epochs, not negative; all remaining ones if there are fewer (see `describe_cap`).
        seed: seed of the random choice, not negative.

    Examples:
        >>> make_plan("sgd", 5, selected=2, draws=1, seed=0)
        Plan(setting='sgd', known=(1, 2, 5), drawn=(3,), others=2, seed=0)
    """
    known = tuple(sorted({1, selected, epochs}))
    others = {*range(1, epochs + 1)}.difference(known)
    order = sorted(others, key=lambda epoch: generator_for(seed, "replay", epoch).random())
    return Plan(setting, known, tuple(sorted(order[:draws])), len(others), seed)


def describe_cap(plan: Plan, draws: int) -> str:
    """Return a sentence saying that fewer than `draws` epochs are left to be drawn; empty if enough are left."""
    if draws <= plan.others:
        return ""
    drawn = {0: "none is left to be drawn", 1: "it is drawn"}.get(plan.others, f"all {plan.others} are drawn")
    return (
        f"--replay {draws}: setting {plan.setting} has {plan.others or 'no'} epoch{'s' * (plan.others != 1)} beside "
        f"the first, the last and the selected one ({_listed(plan.known)}), which are trained again in any case; "
        f"{drawn}"
    )


def chance_to_find(false: int, others: int, draws: int) -> float:
    """Return the probability that randomly drawn epochs include at least one epoch with falsified results.

    The probability follows from the hypergeometric distribution.

    Args:
        false: m, number of falsified epochs among those that may be drawn.
        others: N, number of epochs that may be drawn.
        draws: K, number of epochs drawn.

    Examples:
        >>> f"{chance_to_find(1, 17, 3):.0%}, {chance_to_find(5, 17, 5):.0%}, {chance_to_find(10, 17, 4):.0%}"
        '18%, 87%, 99%'
    """
    return 1 - math.comb(others - false, draws) / math.comb(others, draws)


def chances(plan: Plan) -> list[tuple[int, float]]:
    """Return pairs (number of falsified epochs, probability that at least one of them is drawn).

    The numbers are examples: 1, 5, half of the epochs that may be drawn, and all of them.
    """
    counts = sorted({count for count in (1, 5, plan.others // 2, plan.others) if 0 < count <= plan.others})
    return [(count, chance_to_find(count, plan.others, len(plan.drawn))) for count in counts]


LARGEST_SEED = 2**32  # of a seed that is drawn here, so that a person can copy it


@dataclass(frozen=True, kw_only=True)
class Replay:
    """Result of a replay: the epochs that were trained again, those that could not be, and the differences."""

    plan: Plan
    training_sha256: str  # of the last entry of the chain
    portable: bool
    first_epoch_from: str | None = None  # with the deviation warm-start, the setting whose last weights it takes
    replayed: list[int] = field(default_factory=list)  # epochs that were trained again
    missing: dict[int, str] = field(default_factory=dict)  # why an epoch was not
    differences: list[str] = field(default_factory=list)  # as sentences
    first_tensors: list[str] = field(default_factory=list)  # sentences on traces of epochs that differ

    def to_json(self) -> dict[str, Any]:
        """Return the epochs that were trained again and those that were not, as JSON values."""
        return {
            "replayed": self.replayed,
            "first_tensors": self.first_tensors,
            "drawn": self.plan.drawn,
            "draw": self.plan.seed,
            "missing": self.missing,
        }


# Why no epoch is trained again in another class.
WHY = {
    "portable": "portable arithmetic of one version has one class",
    "native": "native arithmetic repeats where the class is the same, so that other bits would show nothing",
}
EVERY = "all"  # settings that have epochs, as the value of --setting


def plan_replays(
    run: FinishedRun, draws: int, seed: int | None, numerics: Numerics, setting: str | None = None
) -> list[Plan]:
    """Choose the epochs to train again, of one setting or of each that has epochs.

    Args:
        run: the finished run.
        draws: number of random epochs of each setting, besides the first, the last and the best one.
        seed: seed of the random choice; None draws a random seed.
        numerics: the arithmetic of this process.
        setting: name of the setting; None for the selected one, `EVERY` for all.

    Raises:
        ValueError: there is no such setting, or it has no epochs; the arithmetic of this process is not that of the
            run; or a training step is too large for this machine.
    """
    config, chosen = run.config, setting or run.metrics["setting"]
    trained = [each.name for each in config.settings if not config.fits_head(each)]
    if chosen != EVERY and chosen not in run.histories:
        valid = f"it must be one of {', '.join((*trained, EVERY))}"
        raise ValueError(f"--setting {chosen}: {run.folder} has no such setting; {valid}")
    if chosen not in (EVERY, *trained) or not trained:
        others = f"; --setting {' or '.join(trained)} has epochs" * bool(trained)
        fitted = f"the head of {run.folder} was fitted and has no epochs"
        raise ValueError(f"{fitted}; verify without --replay fits it again{others}")
    if (numeric := run.fingerprint["numeric_class"]) != numerics.numeric_class:
        then = f"{run.folder} was trained in {(made_in := run.fingerprint['numerics'])} arithmetic"
        here = f"this process computes in {numerics.mode} arithmetic of class {numerics.numeric_class}"
        raise ValueError(f"{then} of numeric class {numeric}, and {here}: no epoch is trained again; {WHY[made_in]}")
    refuse_too_large(config, numerics, training=True)
    seed = secrets.randbelow(LARGEST_SEED) if seed is None else seed
    return [
        make_plan(name, config.epochs, run.best_row(name)["epoch"], draws, seed)
        for name in trained
        if chosen in (EVERY, name)
    ]


def replay(run: FinishedRun, plan: Plan, context: Context, data: str | None = None) -> Replay:
    """Train the planned epochs of a setting again, and compare their results with the run's.

    Each epoch starts from the saved state of the epoch before, which must have the recorded hashes. The first
    epoch starts from the initial weights, which are made again, or from the last weights of an earlier setting,
    which are read from the run. The images are decoded again. Every tensor, the optimizer state, the training
    loss and the validation row are compared bitwise.

    Args:
        run: a run that was verified.
        plan: one of `plan_replays`.
        context: arithmetic, progress and processes of the computation.
        data: the folder of the images. If it is None, the folder in the configuration is used. If the
            configuration names none either, the images are the package's own drawings of scenes.

    Raises:
        ValueError: an image is missing or has changed since the run was made.
        KeyboardInterrupt: the process was asked to stop; raised after a step.
    """
    config, split = run.config, run.split_below(data)
    setting = config.setting(plan.setting)
    parts = ("training", "validation", "test")[: 2 + config.protocol.scores_test_each_epoch]
    images = {part: config.load_part(split, part, context.progress, cache=False) for part in parts}
    records = [*map(EpochRecord, run.tensors[plan.setting], run.histories[plan.setting])]
    result = Replay(
        plan=plan,
        training_sha256=chain.sha256_of(records[-1].entry, run.config),
        portable=context.numerics.portable,
        first_epoch_from=run.config.setting_before(setting),
        differences=[each for part in parts for each in pixel_differences(run, part, images[part], bitwise=True)],
    )
    with signals.interrupts() as interrupted:
        for epoch in plan.epochs:
            context.progress.message(f"training epoch {epoch} of {setting.name} again")
            where = f"{setting.name}, epoch {epoch}"
            try:
                model, kept = read_start(run, setting, epoch)
                inputs = TrainingInputs(model=model, config=run.config, setting=setting, context=context, **images)
                # The trace of one epoch alone: together they may be larger than the disk of temporary files.
                with tempfile.TemporaryDirectory() as folder:
                    trace, traced = Path(folder, "replay.trace"), traced_steps(run, setting.name, epoch)
                    again = train_again(inputs, records[epoch - 1], kept, interrupted, trace, traced)
                    clauses = [*compare_records(records[epoch - 1], again)]
                    result.differences.extend(f"{where}, trained again: {clause}" for clause in clauses)
                    if clauses and (by_traces := describe_replay(run, setting.name, trace)):
                        result.first_tensors.append(f"{where}, by its trace: {by_traces}")
                result.replayed.append(epoch)
            except MissingStateError as error:
                result.missing[epoch] = f"{error}"
            except ValueError as error:
                result.differences.append(f"{where}: it cannot be trained again: {error}")
                result.replayed.append(epoch)
            if interrupted():
                raise KeyboardInterrupt
    return result


NOT_SHOWN = (
    "equal bits do not show: a false epoch that was not drawn, a seed chosen among many, a run chosen among hidden "
    "ones, poisoned labels, a test set that was looked at"
)


def result_lines(*results: Replay) -> list[str]:
    """Return the output lines of replays that found no differences."""
    lines: list[str] = []
    for result in results:
        plan = result.plan
        mode = "portable arithmetic" if result.portable else "native arithmetic of the run's numeric class"
        drawn = f"drawn by --draw {plan.seed}: {_listed(plan.drawn)}" if plan.drawn else "none was drawn"
        lines += [
            f"replayed {plan.setting}, epoch {_listed(result.replayed)} (the first, the last and the selected: "
            f"{_listed(plan.known)}; {drawn}): every tensor, the optimizer state, the training loss and the validation "
            f"row are equal, bit for bit, in {mode}",
            f"the hash that commits to the training of {plan.setting}: {result.training_sha256}",
            f"warm start: epoch 1 began with the last weights of {result.first_epoch_from} as this run holds them; "
            "where they come from was not trained again"
            if result.first_epoch_from
            else "",
        ]
        if not result.missing:
            odds = ", ".join(f"m = {false}: {percent(chance)}" for false, chance in chances(plan))
            lines.append(
                f"every epoch of {plan.setting} was trained again"
                if len(plan.drawn) == plan.others
                else f"of m false epochs among the other {plan.others} at least one is found with 1 - C(N - m, K) / "
                f"C(N, K), N = {plan.others}, K = {len(plan.drawn)}: {odds}"
            )
    return [*filter(None, lines), NOT_SHOWN]


def verdict_of_replay(results: Iterable[Replay]) -> str:
    """Return a clause for the first line of output, with the epochs of each setting that were trained again."""
    return "".join(
        f"; of {result.plan.setting} trained again: epoch {_listed(result.replayed) or 'none'}"
        f"{f', and not epoch {_listed(result.missing)}' if result.missing else ''}"
        for result in results
    )


def difference_lines(*results: Replay) -> list[str]:
    """Return the last output lines of replays that found differences.

    The first of these lines name the first differing tensors, if traces show them. The final line says whether
    the differences disprove the run.
    """
    worth = (
        "portable arithmetic has a fixed order of operations, so this training is not the one that the run records, or "
        "one of the machines computes differently"
        if results[0].portable
        else "native arithmetic is known to repeat on one machine only, so this is a reason to look, not a proof"
    )
    of_each = [(f"{each.plan.setting} " if len(results) > 1 else "", _listed(each.plan.drawn)) for each in results]
    drawn = "; ".join(f"{name}{epochs or 'none'}" for name, epochs in of_each)
    tensors = [each for result in results for each in result.first_tensors]
    return [*tensors, f"{worth} (drawn by --draw {results[0].plan.seed}: {drawn})"]


def missing_line(result: Replay) -> str:
    """Return a line on the epochs that could not be trained again, with reasons; empty if there are none."""
    listed = {reason: [n for n, of in result.missing.items() if of == reason] for reason in result.missing.values()}
    return "; ".join(
        f"{result.plan.setting}, epoch {_listed(epochs)}: not trained again, since {reason}"
        for reason, epochs in listed.items()
    )


def percent(chance: float) -> str:
    """Return a probability as text such as `18 %`; a probability below 1 never becomes 100 %.

    Examples:
        >>> percent(0.176), percent(0.997), percent(1.0)
        ('18 %', '> 99 %', '100 %')
    """
    return "> 99 %" if 0.995 <= chance < 1 else f"{100 * chance:.0f} %"


def _listed(epochs: Iterable[int]) -> str:
    return ", ".join(map(str, epochs))


Batches = Iterator[tuple[torch.Tensor, torch.Tensor]]


def first_steps(folder: str) -> tuple[torch.nn.Module, Callable[..., torch.Tensor], torch.optim.Optimizer, Batches]:
    """Return network, loss, optimizer and batches with which a run's selected setting began its training.

    The arithmetic is that of the run. Decoded pixels may be read from the cache.

    Raises:
        ValueError: the folder is not that of a finished run, its last layer was fitted without training steps,
            or the images or the initial weights are missing.
    """
    run = FinishedRun.open(Path(folder))
    setting = run.config.setting(run.metrics["setting"])
    if run.config.fits_head(setting):
        raise ValueError(f"the head of {folder} was fitted and has no steps")
    numerics = activate(run.fingerprint["numerics"], "cpu" if run.fingerprint["device"] == "cpu" else "auto")
    model, _ = read_start(run, setting, 1)
    images = run.config.load_part(replace(run.split, root=image_root(run.config, None)), "training")
    inputs = TrainingInputs(
        model=model, training=images, validation=images, config=run.config, setting=setting, context=Context(numerics)
    )
    epochs = Epochs(inputs)

    def batches() -> Batches:
        # Before each batch, learning rates and random generator are set as the training did.
        epochs.start_epoch()
        for batch in training_batches(images, run.config.batch_size, run.config.augmentation, run.config.seed, 0):
            epochs.start_step()
            with shares.Whole(batch.identities):
                yield batch.images.to(numerics.device), batch.labels.to(numerics.device)
            epochs.position.batch += 1

    return epochs.model, numerics.cross_entropy, epochs.optimizer, batches()
