"""One epoch trained again, and the choice of epochs for a replay."""

from __future__ import annotations

import copy
import functools
import itertools
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from in4310repro.runs import chain, names
from in4310repro.runs.config import Config, to_json
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.folder import RunFolder
from in4310repro.runs.settings import OptimizerSetting
from in4310repro.system.context import Context
from in4310repro.system.tensors import tensors_sha256
from in4310repro.trace import read_trace
from in4310repro.training import checkpoints, training
from in4310repro.training.checkpoints import Position
from in4310repro.training.training import Epochs, TrainingInputs
from in4310repro.verification import replay as one_epoch
from in4310repro.verification.replay import (
    NOT_SHOWN,
    EpochRecord,
    Replay,
    chance_to_find,
    chances,
    compare_records,
    describe_cap,
    make_plan,
    missing_line,
    percent,
    read_kept,
    result_lines,
    train_again,
)
from tests.conftest import active
from tests.test_checkpoint_files import write_kept_epoch
from tests.training.test_checkpoints import CutOffError, cut_after
from tests.training.test_training import TINY, network, task

FIVE = replace(TINY, epochs=5)
FALSE = 3  # the epoch that is forged
OPTIMIZERS = pytest.mark.parametrize("position", [0, 1, 2], ids=["adamw", "rmsprop", "sgd"])


@functools.cache
def kept_training(position: int) -> Path:
    """Return the folder of a five-epoch training with saved states; `position` selects the optimizer setting."""
    folder = Path(tempfile.mkdtemp()) / "run"
    training.fit(replace(task(network(0), FIVE, FIVE.settings[position], RunFolder(folder)), keep_epochs=True))
    return folder


def record_of(folder: Path, setting: str, epoch: int) -> EpochRecord:
    run = RunFolder(folder)
    entries, rows = run.read_json(f"{setting}/tensors.json"), run.read_json(f"{setting}/history.json")
    return EpochRecord(entries[epoch - 1], rows[epoch - 1])


def inputs(setting: OptimizerSetting, config: Config = FIVE) -> TrainingInputs:
    made = task(network(0), config, setting, RunFolder(Path()))
    return TrainingInputs(**{name: getattr(made, name) for name in TrainingInputs.__dataclass_fields__})


Compare = Callable[[EpochRecord, EpochRecord], Iterator[str]]


def find_differences(
    folder: Path,
    epoch: int,
    setting: OptimizerSetting,
    config: Config = FIVE,
    name: str = "",
    compare: Compare = compare_records,
) -> list[str]:
    """Train an epoch again from the previous saved state, and return its differences from the record."""
    name = name or setting.name
    claim = record_of(folder, name, epoch)
    kept = read_kept(folder, name, record_of(folder, name, epoch - 1).entry) if epoch > 1 else None
    return list(compare(claim, train_again(inputs(setting, config), claim, kept)))


@OPTIMIZERS
def test_each_epoch_of_an_honest_training_is_equal_to_the_bit(position: int) -> None:
    folder, setting = kept_training(position), FIVE.settings[position]
    assert {epoch: find_differences(folder, epoch, setting) for epoch in range(1, 6)} == {n: [] for n in range(1, 6)}


def test_kept_epochs_change_no_other_file(tmp_path: Path) -> None:
    training.fit(task(network(0), FIVE, FIVE.settings[0], RunFolder(tmp_path)))
    for name in ("tensors.json", "best.safetensors"):
        assert (tmp_path / "adamw" / name).read_bytes() == (kept_training(0) / "adamw" / name).read_bytes()
    assert RunFolder(tmp_path).manifest().keys() == RunFolder(kept_training(0)).manifest().keys()
    assert not (tmp_path / "adamw/epochs").exists()


@pytest.mark.parametrize("cuts", [(8,), (6, 1, 13)], ids=str)
def test_a_training_that_was_cut_off_keeps_the_same_epochs_and_the_same_chain(
    cuts: tuple[int, ...], tmp_path: Path
) -> None:
    kept = replace(task(network(0), FIVE, FIVE.settings[0], RunFolder(tmp_path)), keep_epochs=True)
    for cut in cuts:
        with pytest.raises(CutOffError):
            training.fit(replace(kept, model=network(0), context=Context(active(), cut_after(cut))))
    training.fit(replace(kept, model=network(0)))
    names_kept = [f"epochs/{epoch:06d}.safetensors" for epoch in range(1, 6)]
    for name in ("tensors.json", *names_kept):
        assert (tmp_path / "adamw" / name).read_bytes() == (kept_training(0) / "adamw" / name).read_bytes()


def forge_epoch(folder: Path, position: int) -> Path:
    """Forge the third epoch of a copied training, continue the training from it, and return the run's folder."""
    setting = FIVE.settings[position]
    shutil.copytree(kept_training(position), folder)
    run = RunFolder(folder)
    claims = [record_of(folder, setting.name, epoch) for epoch in range(1, FALSE + 1)]
    epochs = Epochs(inputs(setting))
    kept = read_kept(folder, setting.name, claims[-1].entry)
    weights, optimizer = kept
    weights = dict(weights) | {"5.bias": weights["5.bias"] + 0.25}
    checkpoints.load_into(weights, optimizer, epochs.model, epochs.optimizer, "forged")
    epochs.position.epoch = FALSE - 1
    row = epochs.validate(0.1, 1.0)
    state = checkpoints.optimizer_tensors(epochs.optimizer)
    entry = chain.entry(FALSE, claims[-1].entry["previous"], epochs.model.state_dict(), state)
    rows, entries = [each.row for each in claims[:-1]], [each.entry for each in claims[:-1]]
    at = Position(epoch=FALSE, history=[*rows, row], tensors=[*entries, entry])
    write_kept_epoch(folder / names.kept_epoch(setting.name, FALSE), epochs.model, epochs.optimizer)
    shutil.rmtree(folder / setting.name / "checkpoint")
    tensors = checkpoints.tensors_of(epochs.model, epochs.optimizer)
    checkpoints.save(folder / setting.name / "checkpoint", tensors, at, to_json(FIVE))
    training.fit(replace(task(network(0), FIVE, setting, run), keep_epochs=True))
    return folder


def compares_nothing(_claimed: EpochRecord, _computed: EpochRecord) -> Iterator[str]:
    """Compare nothing, like a faulty check that only trains."""
    return iter(())


def compares_the_kept_state_alone(claimed: EpochRecord, _computed: EpochRecord) -> Iterator[str]:
    """Check only the epoch number in the record, like a faulty check that ignores the repeated training."""
    if claimed.entry["epoch"] != claimed.row["epoch"]:
        yield "another epoch"


@pytest.mark.parametrize(
    ("compare", "found"),
    [(compare_records, [FALSE]), (compares_nothing, []), (compares_the_kept_state_alone, [])],
    ids=["replay", "twin-compares-nothing", "twin-compares-files"],
)
def test_a_spliced_epoch_is_found_where_it_is_trained_again_and_nowhere_else(
    compare: Compare, found: list[int], tmp_path: Path
) -> None:
    folder, setting = forge_epoch(tmp_path / "forged", 0), FIVE.settings[0]
    assert [epoch for epoch in range(1, 6) if find_differences(folder, epoch, setting, compare=compare)] == found


@pytest.mark.parametrize(
    ("change", "of"),
    [
        (lambda config: replace(config, batch_size=9), "tensors differ"),
        (lambda config: replace(config, seed=1), "tensors differ"),
        (lambda config: replace(config, augmentation="none"), "tensors differ"),
        (lambda config: replace(config, schedule="constant"), "tensors differ"),
        (lambda config: replace(config, epochs=6), "tensors differ"),
    ],
    ids=["batch_size", "seed", "augmentation", "schedule", "epochs"],
)
def test_another_configuration_than_trained_the_network_is_found(change: Callable[[Config], Config], of: str) -> None:
    assert of in find_differences(kept_training(0), 2, FIVE.settings[0], change(FIVE))[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda setting: replace(setting, learning_rate=setting.learning_rate * 1.001),
        lambda setting: replace(setting, weight_decay=0.02),
    ],
    ids=["learning_rate", "weight_decay"],
)
def test_another_setting_than_trained_the_network_is_found(
    change: Callable[[OptimizerSetting], OptimizerSetting],
) -> None:
    setting = FIVE.settings[0]
    differences = find_differences(kept_training(0), 4, change(setting))
    assert differences[0].endswith("tensors differ, the first is 0.weight")


def test_another_optimizer_than_trained_the_network_is_found() -> None:
    differences = find_differences(kept_training(0), 1, FIVE.settings[1], name="adamw")
    assert "the optimizer state differs" in differences
    with pytest.raises(
        ValueError, match=r"the kept state after epoch 1 does not belong to this training .*0.square_avg is missing"
    ):
        find_differences(kept_training(0), 2, FIVE.settings[1], name="adamw")


def test_a_kept_state_of_another_network_is_refused_with_its_epoch() -> None:
    claim = record_of(kept_training(0), "adamw", 2)
    kept = read_kept(kept_training(0), "adamw", record_of(kept_training(0), "adamw", 1).entry)
    stray = kept[0], {**kept[1], "99.exp_avg": torch.zeros(1)}
    with pytest.raises(ValueError, match="the kept state after epoch 1 does not belong to this training"):
        train_again(inputs(FIVE.settings[0]), claim, stray)


@OPTIMIZERS
def test_a_kept_state_that_is_smaller_than_its_parameters_is_refused_before_a_step(position: int) -> None:
    """The hash chain does not exclude such a saved state, because a forger can also forge the chain."""
    folder, setting = kept_training(position), FIVE.settings[position]
    claim = record_of(folder, setting.name, 2)
    kept = read_kept(folder, setting.name, record_of(folder, setting.name, 1).entry)
    small = {name: value.flatten()[:1] if value.ndim else value for name, value in kept[1].items()}

    def step() -> bool:
        raise AssertionError("a step was taken")

    with pytest.raises(
        ValueError, match=r"the kept state after epoch 1 does not belong to this training .*of shape \(1,\)"
    ):
        train_again(inputs(setting), claim, (kept[0], small), step)


@pytest.mark.parametrize("key", ["train_loss", "val_loss", "mean_average_precision", "accuracy"])
def test_a_changed_number_of_the_history_is_found(key: str) -> None:
    claim = record_of(kept_training(0), "adamw", 1)
    computed = train_again(inputs(FIVE.settings[0]), claim, None)
    changed_row = copy.copy(claim.row)
    changed_row[key] += 1e-9  # type: ignore[literal-required]
    changed = claim._replace(row=changed_row)
    (difference,) = compare_records(changed, computed)
    assert difference.startswith(f"{key} is ")
    assert list(compare_records(claim._replace(row=claim.row | {"images_per_second": 1.0}), computed)) == []


def test_one_tensor_or_the_optimizer_state_alone_is_a_difference() -> None:
    claim = record_of(kept_training(0), "adamw", 2)
    hashes = claim.entry["tensors"]
    other = claim._replace(entry=claim.entry | {"tensors": hashes | {"1.running_var": "0" * 12}})
    assert list(compare_records(claim, other)) == [f"1 of {len(hashes)} tensors differ, the first is 1.running_var"]
    other = claim._replace(entry=claim.entry | {"optimizer_sha256": "0" * 64})
    assert list(compare_records(claim, other)) == ["the optimizer state differs"]
    # 12 digits of each tensor may be forged to fit; the whole hash is compared too.
    other = claim._replace(entry=claim.entry | {"weights_sha256": "0" * 64})
    assert next(compare_records(claim, other)).startswith("weights_sha256 is ")


@pytest.mark.parametrize("damage", ["weights", "optimizer state", "cut"])
def test_a_kept_state_that_is_not_that_of_the_chain_is_named_with_its_epoch(damage: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(kept_training(0), tmp_path / "run"))
    file = folder / names.kept_epoch("adamw", 2)
    weights, state = checkpoints.read_kept_epoch(file)
    changed = weights if damage == "weights" else state
    # A step that is another than those of the other parameters is refused before it is compared.
    name = next(name for name in changed if not name.endswith(".step"))
    changed[name] = changed[name] + 1
    epochs = Epochs(inputs(FIVE.settings[0]))
    checkpoints.load_into(weights, state, epochs.model, epochs.optimizer, "")
    write_kept_epoch(file, epochs.model, epochs.optimizer)
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-1])
    words = "is not a complete safetensors file" if damage == "cut" else f"other {damage} than .* after epoch 2$"
    with pytest.raises(ValueError, match=rf"epochs/000002\.safetensors .*{words}"):
        read_kept(folder, "adamw", record_of(folder, "adamw", 2).entry)


def test_an_interrupted_replay_ends_after_its_step() -> None:
    claim = record_of(kept_training(0), "adamw", 1)
    steps = []

    def interrupted() -> bool:
        steps.append(1)
        return len(steps) == 2

    with pytest.raises(KeyboardInterrupt):
        train_again(inputs(FIVE.settings[0]), claim, None, interrupted)
    assert len(steps) == 2


def test_a_replay_traces_the_steps_that_are_asked_for(tmp_path: Path) -> None:
    claim, trace = record_of(kept_training(0), "adamw", 1), tmp_path / "replay.trace"
    train_again(inputs(FIVE.settings[0]), claim, None, trace=trace, traced={1})
    assert [step.number for step in read_trace(trace).steps] == [1]


def test_epochs_without_the_state_before_them_are_listed_and_the_first_needs_none(finished_run: Path) -> None:
    first, both = (
        one_epoch.describe_missing_epochs(FinishedRun.open(finished_run), "sgd", each) for each in ([1], [1, 2])
    )
    where = finished_run / "sgd" / "epochs"
    assert (first, both) == ("", f"{where} has no state before epoch 2; train --keep-epochs keeps them")


@OPTIMIZERS
def test_a_kept_epoch_takes_the_disk_that_was_announced(position: int) -> None:
    model, setting = network(0), FIVE.settings[position]
    announced = checkpoints.kept_epoch_bytes(model, setting)
    kept = read_kept(kept_training(position), setting.name, record_of(kept_training(position), setting.name, 1).entry)
    tensors = [*kept[0].values(), *(v for n, v in kept[1].items() if not n.endswith(".step"))]
    assert announced == sum(value.numel() * value.element_size() for value in tensors)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        (names.kept_epoch("adamw", 7), True),
        ("adamw/epochs/000007.safetensors.bak", False),
        ("adamw/epochs/x.safetensors", False),
        ("epochs/000007.safetensors", False),
        ("adamw/best.safetensors", False),
    ],
)
def test_a_kept_epoch_is_known_by_its_name(name: str, kept: bool) -> None:
    assert names.is_kept_epoch(name) == kept


def test_the_kept_weights_are_those_that_the_chain_has_after_each_epoch() -> None:
    for epoch in range(1, 6):
        weights, _ = checkpoints.read_kept_epoch(kept_training(0) / names.kept_epoch("adamw", epoch))
        entry = record_of(kept_training(0), "adamw", epoch).entry
        assert tensors_sha256(weights) == entry["weights_sha256"]
        assert all(tensors_sha256({n: v})[:12] == entry["tensors"][n] for n, v in weights.items())
        assert all(isinstance(value, torch.Tensor) for value in weights.values())
        assert active().portable


def test_the_first_the_last_and_the_selected_epoch_are_always_trained_again() -> None:
    plan = make_plan("adamw", 20, selected=7, draws=3, seed=5)
    assert plan.known == (1, 7, 20)
    assert plan.others == 17
    assert len(set(plan.drawn)) == 3
    assert not set(plan.drawn) & set(plan.known)
    assert plan.epochs == sorted({*plan.known, *plan.drawn})


@pytest.mark.parametrize(("epochs", "selected", "known"), [(1, 1, (1,)), (2, 2, (1, 2)), (5, 1, (1, 5))])
def test_an_epoch_that_is_known_for_two_reasons_counts_once(epochs: int, selected: int, known: tuple[int, ...]) -> None:
    plan = make_plan("adamw", epochs, selected, 0, 0)
    assert plan.known == known
    assert plan.others == epochs - len(known)


def test_a_seed_draws_the_same_epochs_again_and_others_draw_each_set_about_equally_often() -> None:
    assert make_plan("a", 9, 4, 2, seed=3) == make_plan("a", 9, 4, 2, seed=3)
    draws = Counter(make_plan("a", 9, 4, 2, seed).drawn for seed in range(600))
    assert set(draws) == set(itertools.combinations((2, 3, 5, 6, 7, 8), 2))
    # 40 of each of 15 sets; the standard deviation is 6.
    assert 15 < min(draws.values()) <= max(draws.values()) < 65


def test_of_more_epochs_than_are_left_all_are_drawn_and_it_is_said() -> None:
    plan = make_plan("sgd", 6, 3, 4, 0)
    assert plan.drawn == (2, 4, 5)
    assert describe_cap(plan, 3) == ""
    said = describe_cap(plan, 4)
    assert said.startswith(
        "--replay 4: setting sgd has 3 epochs beside the first, the last and the selected one (1, 3, 6)"
    )
    assert said.endswith("all 3 are drawn")


@pytest.mark.parametrize(("epochs", "selected"), [(1, 1), (2, 1), (2, 2), (3, 2)])
def test_where_no_epoch_is_left_none_is_drawn_and_it_is_said(epochs: int, selected: int) -> None:
    plan = make_plan("sgd", epochs, selected, 1, 0)
    assert plan.drawn == ()
    said = describe_cap(plan, 1)
    assert "has no epochs beside" in said
    assert said.endswith("none is left to be drawn")
    assert "0 to 0" not in said
    assert describe_cap(plan, 0) == ""


def test_one_epoch_that_is_left_is_one() -> None:
    assert "has 1 epoch beside" in describe_cap(make_plan("sgd", 4, 2, 9, 0), 9)


@pytest.mark.parametrize(("false", "draws", "percent"), [(1, 3, 18), (5, 5, 87), (10, 4, 99)])
def test_the_chance_for_twenty_epochs_is_that_of_the_literature_table(false: int, draws: int, percent: int) -> None:
    assert round(100 * chance_to_find(false, 17, draws)) == percent


def chance_by_enumeration(false: int, others: int, draws: int) -> float:
    """Return the probability that `draws` of `others` epochs, `false` of them forged, include a forged epoch."""
    sets = list(itertools.combinations(range(others), draws))
    return sum(min(drawn, default=others) < false for drawn in sets) / len(sets)


def chance_by_drawing_with_replacement(false: int, others: int, draws: int) -> float:
    """Return the same probability for draws with replacement, which is a mistake."""
    return 1 - (1 - false / others) ** draws


def test_the_chance_is_the_share_of_all_draws_that_hold_a_false_epoch() -> None:
    cases = [(m, n, k) for n in range(1, 8) for m in range(1, n + 1) for k in range(n + 1)]
    for case in cases:
        assert chance_to_find(*case) == pytest.approx(chance_by_enumeration(*case), abs=1e-12)
    assert any(abs(chance_by_drawing_with_replacement(*case) - chance_by_enumeration(*case)) > 0.1 for case in cases)


def test_the_table_has_no_more_false_epochs_than_there_are_others() -> None:
    assert [false for false, _ in chances(make_plan("a", 20, 7, 3, 0))] == [1, 5, 8, 17]
    assert [false for false, _ in chances(make_plan("a", 5, 2, 1, 0))] == [1, 2]
    assert chances(make_plan("a", 3, 2, 0, 0)) == []


def test_the_table_of_the_docs_has_these_chances() -> None:
    page = (Path(__file__).parents[3] / "docs/verification.md").read_text(encoding="utf-8")
    draws = [int(k) for k in re.findall(r"K = (\d+) \|", page)]
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| m = ")]
    assert len(draws) == 5
    assert len(rows) == 3
    for name, *cells in rows:
        false = int(name.removeprefix("m = "))
        assert cells == [percent(chance_to_find(false, 17, k)) for k in draws]


OF_TWENTY = Replay(
    plan=make_plan("adamw", 20, 7, 3, 5), training_sha256="ab" * 32, portable=True, replayed=[1, 7, 20, 2, 3, 4]
)


def test_the_chances_of_a_draw_stand_beside_what_was_trained_again() -> None:
    replayed, training, odds, not_shown = result_lines(OF_TWENTY)
    assert "(the first, the last and the selected: 1, 7, 20; drawn by --draw 5: " in replayed
    assert training.endswith("ab" * 32)
    assert odds.endswith("N = 17, K = 3: m = 1: 18 %, m = 5: 68 %, m = 8: 88 %, m = 17: 100 %")
    assert not_shown == NOT_SHOWN


def test_no_chance_is_printed_where_every_epoch_was_trained_again() -> None:
    whole = replace(OF_TWENTY, plan=make_plan("adamw", 5, 2, 2, 5))
    assert result_lines(whole)[2] == "every epoch of adamw was trained again"


def test_epochs_that_are_missing_are_listed_once_for_each_reason_and_take_the_chances_away() -> None:
    partly = replace(OF_TWENTY, missing={7: "a", 9: "b", 20: "a"})
    assert missing_line(partly) == (
        "adamw, epoch 7, 20: not trained again, since a; adamw, epoch 9: not trained again, since b"
    )
    assert not any("at least one is found" in line for line in result_lines(partly))
    assert missing_line(OF_TWENTY) == ""


def test_a_warm_start_is_said_to_be_taken_as_given() -> None:
    warm = result_lines(replace(OF_TWENTY, first_epoch_from="sgd"))
    assert any("began with the last weights of sgd as this run holds them" in line for line in warm)


def test_what_is_nearly_certain_is_not_called_certain() -> None:
    printed = [percent(chance) for chance in (0.0, 0.1765, 0.9853, 0.9971, 1.0)]
    assert printed == ["0 %", "18 %", "99 %", "> 99 %", "100 %"]
