"""Runs of a training in several processes, two at a time, each run once however often it is asked for."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from in4310repro.trace.changes import Variant
from in4310repro.trace.processes import Processes, Run, Training

AT_ONCE = 2
# Equal processes, so that what differs between them differs by itself; addresses of objects do.
PLACES = ("first", "second", "third")


@dataclass(frozen=True)
class Request:
    """Specification of a run: process name, options, environment variables, threads and number of the repeat."""

    place: str  # name of a process
    options: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    threads: int = 0  # 0: as many as torch chooses
    number: int = 0  # tells repeats apart

    def __str__(self) -> str:
        parts = [*self.options, *(f"{name}={value}" for name, value in self.variables)]
        parts += [f"threads {self.threads}"] if self.threads else []
        parts += [self.place] if self.place not in PLACES else []
        return ", ".join(parts) or "a plain run"


class Runner:
    """Scheduler of runs of one training; it executes each request once and keeps the result."""

    def __init__(self, training: Training, processes: Processes, shown: Callable[[str], None] = lambda _: None) -> None:
        self._training, self._processes, self._shown = training, processes, shown
        self._results: dict[Request, Run | ValueError] = {}

    def add(self, variant: Variant) -> str:
        """Prepare a new process with the variant's environment and arguments; return the name of the process."""
        name = " ".join(f"{key}={value}" for key, value in (variant.start or {}).items()) or "libraries first"
        self._processes.open(name, variant.start, variant.words)
        return name

    def need(self, *requests: Request) -> list[Run]:
        """Return the run of each request, executing requests that have no result yet.

        Raises:
            ValueError: the training failed.
        """
        found = []
        for each in self.try_all(*requests):
            if isinstance(each, ValueError):
                raise each
            found.append(each)
        return found

    def try_all(self, *requests: Request) -> list[Run | ValueError]:
        """Return a list with the run of each request, or with the ValueError that made the run fail."""
        wanted = list(dict.fromkeys(each for each in requests if each not in self._results))
        by_place: dict[str, list[Request]] = {}
        for each in wanted:
            by_place.setdefault(each.place, []).append(each)
        if by_place:
            with ThreadPoolExecutor(AT_ONCE) as threads:
                list(threads.map(self._run, by_place.values()))
        return [self._results[each] for each in requests]

    def _run(self, requests: Sequence[Request]) -> None:
        for each in requests:
            self._shown(str(each))
            try:
                server = self._processes.open(each.place)
                result: Run | ValueError = server.run(self._training, each.options, dict(each.variables), each.threads)
            except ValueError as error:
                result = error
            self._results[each] = result
