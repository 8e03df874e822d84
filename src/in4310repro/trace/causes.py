"""Causes of different bits: some steps of a training, run again under one change at a time, and compared."""

import sys
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from in4310repro.trace import changes
from in4310repro.trace.changes import DETERMINISTIC, LOWER, PORTABLE, THREADS, Change, Variant
from in4310repro.trace.comparison import Comparison, compare
from in4310repro.trace.explanation import Effect, Explanation, Finding
from in4310repro.trace.modes import describe_module, mode_findings
from in4310repro.trace.processes import NotApplicableError, Processes, Run, Training
from in4310repro.trace.program import check
from in4310repro.trace.records import TraceFile
from in4310repro.trace.runner import PLACES, Request, Runner

REPEATS, AGAIN = 3, 10  # runs that have to be equal; number of the first of those that are done again


def explain(
    command: Sequence[str],
    *,
    steps: int = 2,
    only: Collection[str] = (),
    limit: float = 300.0,
    shown: Callable[[str], None] = lambda _: None,
    path: Sequence[str] = ("",),
    libraries: Sequence[str] = (),
    processes: Processes | None = None,
) -> Explanation:
    """Find what changes the bits of a training run, by repeating its first steps under one change at a time.

    Each run has a process of its own, and its trace is compared with the trace of an unchanged run. If even
    unchanged runs differ, the training is run again with fixed entropy, seeds, clock, file order and order
    of results, with one thread, with deterministic algorithms, and with filled memory. Those of these
    measures that are needed to make the runs equal show the causes of the differences, and stay in place
    while the changes are tried.

    Args:
        command: the words of a command, `FILE ARGUMENTS...` or `-m MODULE ARGUMENTS...`, which trains with PyTorch;
            each run of it is ended after some steps of its optimizers.
        steps: number of steps of each run.
        only: names of changes (`changes.CHANGES`); empty: all but `compile`, which takes a minute.
        limit: seconds after which a run is stopped.
        shown: called before each run with a line of text about it.
        path: folders in which Python looks for the module first.
        libraries: modules that a process may import once for several runs, to save time.
        processes: processes that serve several explanations; None: new ones.

    Raises:
        ValueError: a name in `only` matches no change, another argument is invalid, or the training fails.
            In the last case the message has the last lines of the user's code.
    """
    words = check(command)
    if steps < 1 or limit <= 0:
        raise ValueError(f"{steps} steps of {limit:g} s; both must be positive")
    chosen = changes.choose(only)
    training = Training(tuple(words), steps, limit, tuple(path), str(Path.cwd()), tuple(libraries))
    with ExitStack() as stack:
        runner = Runner(training, processes or stack.enter_context(Processes()), shown)
        return _Search(runner, " ".join(words), chosen).explain()


class _Search:
    """Search for the causes of different bits between runs of one training."""

    def __init__(self, runner: Runner, command: str, chosen: Sequence[Change]) -> None:
        self._runner, self._command, self._chosen = runner, command, chosen
        self._held: tuple[str, ...] = ()
        self._unstable = False  # plain runs were equal, and others differ by themselves
        self._places: tuple[str, ...] = PLACES  # in which runs are comparable

    def explain(self) -> Explanation:
        plain_runs = [Request(place, number=number) for number in range(2) for place in PLACES[:2]]
        # Alone, since a training that fails or hangs does so once.
        self._runner.need(plain_runs[0])
        one, *others = self._runner.need(*plain_runs)
        pairs = [compare(one.trace, each.trace) for each in others]
        plain = next((each for each in pairs if not each.equal), pairs[0])
        findings = [] if plain.equal else self._hold()
        effects = self._effects()
        if plain.equal and self._unstable:
            # Plain runs were equal by chance.
            findings, self._unstable = self._hold(), False
            effects = self._effects()
        findings += [
            Finding(each.change.name, each.change.cause, each.notes)
            for each in effects
            if each.moved and not each.change.numerical
        ]
        findings += [Finding("mode", each) for each in mode_findings(one.trace)]
        together = tuple(self._together(effects))
        return Explanation(self._command, plain.equal, plain, self._held, tuple(findings), effects, together)

    def _hold(self) -> list[Finding]:
        """Find what must be held fixed, such as seeds, to make runs equal; return the causes of their differences.

        Later runs hold the same things fixed.
        """
        fixes = {each.option: each for each in changes.usable_fixes()}
        usable = [name for name in fixes if isinstance(self._runner.try_all(Request("first", (name,)))[0], Run)]
        everything = self._repeats(usable, self._places)
        if not everything:
            # In forks of one process objects have the same addresses. Where these enter, any change may move them.
            self._places, self._chosen = ("first",), ()
            if not self._repeats(usable, self._places):
                return [Finding("repeat", "it does not repeat, whatever was held fixed: state outside of the process")]
        without = {name: [each for each in usable if each != name] for name in usable}
        self._runner.try_all(*(each for rest in without.values() for each in self._requests(rest, self._places)))
        needed = [name for name, rest in without.items() if not self._repeats(rest, self._places)]
        if everything and not needed:
            # One of several fixes is enough.
            needed = [name for name in usable if self._repeats([name], self._places, 2 * REPEATS)][:1]
        self._held = tuple(needed if self._repeats(needed, self._places, 2 * REPEATS) else usable)
        (run,) = self._runner.need(Request("first", tuple(usable)))
        found = [
            Finding(fix.name, fix.cause, tuple(each for each in run.notes if each.startswith(fix.notes)))
            for fix in map(fixes.__getitem__, needed)
        ]
        return found if everything else [*found, Finding("addresses", changes.ADDRESSES)]

    @staticmethod
    def _requests(options: Sequence[str], places: Sequence[str], repeats: int = REPEATS) -> list[Request]:
        return [
            Request(places[each % len(places)], tuple(options), number=each // len(places)) for each in range(repeats)
        ]

    def _repeats(self, options: Sequence[str], places: Sequence[str], repeats: int = REPEATS) -> bool:
        """Return whether `repeats` runs with these options have equal traces.

        The runs are distributed over the processes named in `places`.
        """
        one, *others = self._runner.try_all(*self._requests(options, places, repeats))
        return isinstance(one, Run) and all(
            isinstance(each, Run) and compare(one.trace, each.trace).equal for each in others
        )

    def _effects(self) -> tuple[Effect, ...]:
        """Run the training under each change, two runs at a time, and return the effect of each change."""
        plans = []
        for number, change in enumerate(self._chosen):
            place = self._places[number % 2]
            reason, requests = self._plan(change, place)
            plans.append((change, reason, requests))
        self._runner.try_all(*(each for _, _, pairs in plans for pair in pairs for each in pair))
        return tuple(self._effect(*plan) for plan in plans)

    def _plan(self, change: Change, place: str) -> tuple[str, list[tuple[Request, Request]]]:
        """Return the reason why a change cannot be tried, and the pairs of runs to compare.

        The reason is empty if the change can be tried. In each pair the second run is the one with the change.
        """
        if reason := changes.missing(change.needs):
            return reason, []
        if held := set(change.held_by) & set(self._held):
            return f"held fixed: {', '.join(sorted(held))}", []
        variables, threads, reason = self._settings(change)
        return reason, [] if reason else [self._with(each, place, variables, threads) for each in change.variants]

    def _settings(self, change: Change) -> tuple[tuple[tuple[str, str], ...], int, str]:
        """Return a change's environment variables, its number of threads, and why it cannot be tried.

        The number is 0 if the change leaves threads alone, and the reason is empty if the change can be tried.
        """
        (plain,) = self._runner.need(Request("first", self._held))
        head = plain.trace.header["environment"]
        vectors = str(head.get("vectors"))
        if not all(vectors in LOWER[name] for name in change.variables):
            return (), 0, f"torch uses {vectors} here; AVX2 and AVX512 have something below them"
        variables = tuple((name, LOWER[name][vectors]) for name in change.variables)
        return variables, (1 if head.get("threads") != 1 else 2) if change.threads else 0, ""

    def _with(
        self, variant: Variant, place: str, variables: tuple[tuple[str, str], ...] = (), threads: int = 0
    ) -> tuple[Request, Request]:
        """Return a pair of requests. The first is for a run to compare with, the second for a run of the variant."""
        own = self._runner.add(variant) if variant.start is not None else place
        against = Request("first" if own != place else place, (*self._held, *variant.against))
        return against, Request(own, (*self._held, *variant.options), variables=variables, threads=threads)

    def _effect(self, change: Change, reason: str, pairs: Sequence[tuple[Request, Request]]) -> Effect:
        found = Effect(change, reason=reason)
        for pair in pairs:
            against, run = self._runner.try_all(*pair)
            if isinstance(against, Exception) or isinstance(run, Exception):
                error = against if isinstance(against, Exception) else run
                words = "" if isinstance(error, NotApplicableError) else "it fails: "
                return Effect(change, reason=f"{words}{error}")
            if change.threads and run.trace.header["environment"].get("threads") != pair[1].threads:
                return Effect(change, reason="the training sets the number of threads itself")
            comparison = compare(against.trace, run.trace)
            found = Effect(change, comparison, notes=run.notes, module=_module_of(run.trace, comparison))
            if found.moved and not change.numerical and not self._is_stable(pair):
                self._unstable = True
                return Effect(change, reason="runs under it differ by themselves")
            if found.moved:
                break
        return found

    def _is_stable(self, pair: Sequence[Request]) -> bool:
        """Return whether each of the two runs gives the same trace when it is repeated."""
        again = [replace(each, number=each.number + AGAIN) for each in pair]
        if pair[1].place not in PLACES:
            # A new process has other addresses too: so has the third.
            again[0] = replace(pair[0], place=PLACES[2])
        self._runner.try_all(*again)
        return all(map(self._equal, pair, again))

    def _together(self, effects: Sequence[Effect]) -> list[str]:
        """Test whether deterministic algorithms or portable arithmetic prevent the effects that were found.

        Only the effects of the number of threads and of vector instructions are tested. Return a sentence for
        each of the two settings that could be tried, with the names of the changes that still alter bits, or the
        statement that none does. Without an effect to test, return an empty list.
        """
        moving = [
            each.change for each in effects if each.moved and (each.change.name == THREADS or each.change.variables)
        ]
        settings = [each for each in effects if each.change.name in (DETERMINISTIC, PORTABLE) and each.comparison]
        place = self._places[0]
        lines = []
        for setting in settings if moving else ():
            (variant,) = setting.change.variants
            pairs = {}
            for change in moving:
                variables, threads, _ = self._settings(change)
                held = Variant(variant.options, variant.options)
                pairs[change.name] = self._with(held, place, variables, threads)
            self._runner.try_all(*(each for pair in pairs.values() for each in pair))
            left = [name for name, pair in pairs.items() if not self._equal(*pair)]
            verdict = f"{', '.join(left)} still move bits" if left else f"{', '.join(pairs)} move nothing"
            lines.append(f"with {setting.change.name}: {verdict}")
        return lines

    def _equal(self, first: Request, second: Request) -> bool:
        one, other = self._runner.try_all(first, second)
        return isinstance(one, Run) and isinstance(other, Run) and compare(one.trace, other.trace).equal


def _module_of(trace: TraceFile, comparison: Comparison) -> str:
    return describe_module(trace, comparison.difference.name) if comparison.difference else ""


def assert_same_training(
    command: Sequence[str],
    under: Collection[str],
    *,
    steps: int = 2,
    limit: float = 300.0,
    processes: Processes | None = None,
) -> None:
    """Assert that a training run repeats bit for bit, also under each of the changes in `under`.

    This function is meant for users' tests.

    Args:
        command: the words of the training's command, such as `["train.py", "--lr", "0.1"]`; see `explain`.
        under: names of changes (`changes.CHANGES`).
        steps: number of steps of each run.
        limit: seconds after which a run is stopped.
        processes: processes that serve several assertions; None: new ones.

    Raises:
        AssertionError: the training does not repeat, or a change alters bits or cannot be tried. The message
            has the first difference under each change.
        ValueError: `under` is empty or has an unknown name, another argument is invalid, or the training
            fails.
    """
    if not under:
        raise ValueError(f"under is empty; it must name some of {', '.join(each.name for each in changes.CHANGES)}")
    found = explain(command, steps=steps, only=under, limit=limit, path=sys.path, processes=processes)
    wrong = [f"{each.change.name} {each.describe()}" for each in found.effects if each.moved or each.comparison is None]
    if not found.repeats:
        wrong.insert(0, found.lines()[0])
    if wrong:
        raise AssertionError("; ".join([*wrong, *(f"cause: {each}" for each in found.causes)]))
