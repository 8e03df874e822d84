"""Choice of the epochs that a replay trains again, and the probability that it finds a falsified epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from in4310repro.system.numerics import generator_for


@dataclass(frozen=True, kw_only=True)
class Plan:
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


def check_request(draws: int | None, seed: int | None) -> None:
    """Raise ValueError if `--replay` or `--draw` has an invalid value.

    Raises:
        ValueError: a number is negative, or `--draw` is given without `--replay`.
    """
    if draws is None and seed is not None:
        raise ValueError(f"--draw {seed} says which epochs --replay K trains again, and --replay is not given")
    for option, value in (("--replay", draws), ("--draw", seed)):
        if value is not None and value < 0:
            raise ValueError(f"{option} {value}; expected at least 0")


def make_plan(setting: str, epochs: int, selected: int, draws: int, seed: int) -> Plan:
    """Choose the epochs of a setting to train again: the first, the last, the selected and some random ones.

    The random epochs depend only on the seed, and every set of them is equally likely: the remaining epochs are
    sorted by a random number each, and the first ones are taken.

    Args:
        setting: the name of the setting.
        epochs: number of epochs of its training.
        selected: the epoch whose weights scored the test set, from 1.
        draws: number of random epochs; all remaining ones if there are fewer (see `describe_cap`).
        seed: seed of the random choice, not negative.

    Raises:
        ValueError: a number is negative (`check_request`).

    Examples:
        >>> make_plan("sgd", 5, selected=2, draws=1, seed=0)
        Plan(setting='sgd', known=(1, 2, 5), drawn=(3,), others=2, seed=0)
    """
    known = sorted({1, selected, epochs})
    others = [epoch for epoch in range(1, epochs + 1) if epoch not in known]
    check_request(draws, seed)
    order = sorted(others, key=lambda epoch: generator_for(seed, "replay", epoch).random())
    return Plan(setting=setting, known=tuple(known), drawn=tuple(sorted(order[:draws])), others=len(others), seed=seed)


def describe_cap(plan: Plan, draws: int) -> str:
    """Return a sentence saying that fewer random epochs are left than requested; empty if enough are left."""
    if draws <= plan.others:
        return ""
    known = ", ".join(map(str, plan.known))
    drawn = {0: "none is left to be drawn", 1: "it is drawn"}.get(plan.others, f"all {plan.others} are drawn")
    left = f"{plan.others or 'no'} epoch{'s' * (plan.others != 1)}"
    return (
        f"--replay {draws}: setting {plan.setting} has {left} beside the first, the last and the selected one "
        f"({known}), which are trained again in any case; {drawn}"
    )


def chance_to_find(false: int, others: int, draws: int) -> float:
    """Return the probability that K random epochs include a falsified one: 1 - C(N - m, K) / C(N, K).

    This is the hypergeometric distribution.

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
    """Return pairs of a number of falsified epochs, and the probability that the random epochs include one.

    The numbers are 1, 5, half of the epochs that may be drawn, and all of them.
    """
    counts = sorted({count for count in (1, 5, plan.others // 2, plan.others) if 0 < count <= plan.others})
    return [(count, chance_to_find(count, plan.others, len(plan.drawn))) for count in counts]
