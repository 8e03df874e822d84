"""Output lines of a replay: the epochs that were trained again, and what bitwise equal results prove."""

from __future__ import annotations

from collections.abc import Iterable

from in4310repro.verification.replay.of_run import Replay, chances

NOT_SHOWN = (
    "equal bits do not show: a false epoch that was not drawn, a seed chosen among many, a run chosen among hidden "
    "ones, poisoned labels, a test set that was looked at"
)


def result_lines(result: Replay) -> list[str]:
    """Return the output lines of a replay without differences."""
    plan = result.plan
    drawn = f"drawn by --draw {plan.seed}: {_listed(plan.drawn)}" if plan.drawn else "none was drawn"
    lines = [
        f"replayed {plan.setting}, epoch {_listed(result.replayed)} (the first, the last and the selected: "
        f"{_listed(plan.known)}; {drawn}): every tensor, the optimizer state, the training loss and the validation row "
        f"are equal, bit for bit, in {_arithmetic(result)}",
        f"the hash that commits to the training of {plan.setting}: {result.training_sha256}",
    ]
    if result.first_epoch_from:
        lines.append(
            f"warm start: epoch 1 began with the last weights of {result.first_epoch_from} as this run holds them; "
            "where they come from was not trained again"
        )
    return [*lines, *_chance_lines(result), NOT_SHOWN]


def difference_lines(result: Replay) -> list[str]:
    """Return one output line, in a list, on how to interpret the differences of a replay."""
    worth = (
        "portable arithmetic has a fixed order of operations, so this training is not the one that the run records, or "
        "one of the machines computes otherwise"
        if result.portable
        else "native arithmetic is known to repeat on one machine only, so this is a reason to look and no proof"
    )
    return [f"{worth} (drawn by --draw {result.plan.seed}: {_listed(result.plan.drawn) or 'none'})"]


def missing_line(result: Replay) -> str:
    """Return a line on the epochs that could not be trained again, with reasons; empty if there are none."""
    epochs_by_reason: dict[str, list[int]] = {}
    for epoch, reason in result.missing.items():
        epochs_by_reason.setdefault(reason, []).append(epoch)
    return "; ".join(
        f"{result.plan.setting}, epoch {_listed(epochs)}: not trained again, since {reason}"
        for reason, epochs in epochs_by_reason.items()
    )


def percent(chance: float) -> str:
    """Return a probability as text such as `18 %`; a probability below 1 never becomes 100 %.

    Examples:
        >>> percent(0.176), percent(0.997), percent(1.0)
        ('18 %', '> 99 %', '100 %')
    """
    return "> 99 %" if 0.995 <= chance < 1 else f"{100 * chance:.0f} %"


def _chance_lines(result: Replay) -> list[str]:
    """Return a line on the probability of finding falsified epochs; none if a planned epoch was not repeated."""
    plan = result.plan
    if result.missing:
        return []
    if len(plan.drawn) == plan.others:
        return ["every epoch was trained again"]
    odds = ", ".join(f"m = {false}: {percent(chance)}" for false, chance in chances(plan))
    return [
        f"of m false epochs among the other {plan.others} at least one is found with 1 - C(N - m, K) / C(N, K), "
        f"N = {plan.others}, K = {len(plan.drawn)}: {odds}"
    ]


def _arithmetic(result: Replay) -> str:
    return "portable arithmetic" if result.portable else "native arithmetic of the run's numeric class"


def _listed(epochs: Iterable[int]) -> str:
    return ", ".join(map(str, epochs))
