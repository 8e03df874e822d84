"""The text about a replay claims what the replay proves, and no more."""

from dataclasses import replace

from in4310repro.verification.replay.lines import NOT_SHOWN, missing_line, percent, result_lines
from in4310repro.verification.replay.of_run import Replay
from in4310repro.verification.replay.plan import make_plan

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
    assert result_lines(whole)[2] == "every epoch was trained again"


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
