"""Changes under which `causes` runs a training again, and what it holds fixed where a training does not repeat."""

import shutil
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from in4310repro.trace.processes import LIBRARIES_FIRST, PLAIN_WORDS

# Levels of vector instructions below those that torch uses.
LOWER = {
    "ATEN_CPU_CAPABILITY": {"AVX512": "avx2", "AVX2": "default"},
    "ONEDNN_MAX_CPU_ISA": {"AVX512": "AVX2", "AVX2": "SSE41"},
    "MKL_CBWR": {"AVX512": "AVX2", "AVX2": "COMPATIBLE"},
}


@dataclass(frozen=True)
class Variant:
    """Options of a changed run, and options of the run that it is compared with."""

    options: tuple[str, ...] = ()  # of `surroundings`, `execution` and `worker`
    against: tuple[str, ...] = ()
    start: Mapping[str, str] | None = None  # variables of a new process; None: a fork of one that is there
    words: tuple[str, ...] = PLAIN_WORDS  # arguments of Python, of a new process


@dataclass(frozen=True)
class Change:
    """A change of environment or computation under which a training is repeated, such as fewer threads."""

    name: str
    meaning: str  # how the run is different
    cause: str  # the mistake of a training that it moves; empty if it moves honest trainings by rounding
    variants: tuple[Variant, ...] = (Variant(),)
    variables: tuple[str, ...] = ()  # of `LOWER`
    threads: bool = False
    needs: str = ""  # linux, cuda or compiler
    held_by: tuple[str, ...] = ()  # fixes that take the change away

    @property
    def numerical(self) -> bool:
        """True if the change alters rounding, and thus the bits even of correct training runs."""
        return not self.cause


def _option(*options: str, against: tuple[str, ...] = ()) -> tuple[Variant, ...]:
    return (Variant(options, against),)


FILES = "files are read in the order of the file system"
CLOCK = "the clock enters, as a seed or a setting"
MEMORY = "memory is read that was not initialised"
LEFT, UNSEEDED = "state is left from a training before it", "a global generator is used that the program does not seed"
VARIABLE, BLAS = "an environment variable enters", "another BLAS or OpenMP is used"
TWICE, OTHER_WORKERS = (
    "a second training in the same process, with",
    "another number of worker processes of DataLoaders",
)
HASHES = tuple(Variant(start={"PYTHONHASHSEED": seed}) for seed in "12")
FILLED = (Variant(("filled memory",)), Variant(("filled tensors",), ("deterministic algorithms",)))
AGAIN, UNSEEDED_AGAIN = (
    _option("again", "generators as before"),
    _option("again", against=("again", "generators as before")),
)
SORTED, FILLING = ("sorted listing",), ("filled memory",)
SEEDS = ("fixed entropy", "seeded Python", "seeded NumPy", "seeded torch")
EARLY = (Variant(start={}, words=LIBRARIES_FIRST),)
HALF = "half of each batch: images of one batch depend on each other, or its size chooses the algorithm"
CHANGES = (
    Change("hash seed", "PYTHONHASHSEED, two other values", "the order of a set, or of hashes of text, enters", HASHES),
    Change("listing", "folders list their files in another order", FILES, _option("shuffled listing"), held_by=SORTED),
    Change("clock", "a clock that is months ahead", CLOCK, _option("shifted clock"), held_by=("stopped clock",)),
    Change("memory", "memory filled with a pattern before it is used", MEMORY, FILLED, needs="linux", held_by=FILLING),
    Change("again", "a second training in the same process", LEFT, AGAIN, held_by=("fixed entropy",)),
    Change("unseeded again", f"{TWICE} the generators as the first left them", UNSEEDED, UNSEEDED_AGAIN, held_by=SEEDS),
    Change("environment", "numbers in environment variables one higher", VARIABLE, _option("other variables")),
    Change(
        "workers", OTHER_WORKERS, "the number of workers enters", _option("other workers"), held_by=("fixed entropy",)
    ),
    Change("library order", "SciPy, scikit-learn, OpenCV and Numba before torch", BLAS, EARLY),
    Change("threads", "one thread, or two in place of one", "", threads=True),
    *(Change(name, "older vector instructions", "", variables=(name,)) for name in LOWER),
    Change("memory format", "channels_last", "", _option("memory format")),
    Change("batch size", HALF, "", _option("half a batch", against=("first half",))),
    Change("deterministic algorithms", "torch.use_deterministic_algorithms", "", _option("deterministic algorithms")),
    Change("TF32", "products on the card rounded to 10 bits", "", _option("TF32"), needs="cuda"),
    Change("compile", "torch.compile", "", _option("compile"), needs="compiler"),
    Change("portable arithmetic", "the kernels of in4310repro.arithmetic", "", _option("portable arithmetic")),
)
SLOW = "compile"  # takes a minute, and is tried if it is asked for
THREADS, BATCH, DETERMINISTIC, PORTABLE = "threads", "batch size", "deterministic algorithms", "portable arithmetic"


@dataclass(frozen=True)
class Fix:
    """A source of differences between runs, such as a seed or the clock, that can be held fixed."""

    name: str
    option: str  # of `surroundings` or `execution`
    cause: str
    notes: tuple[str, ...] = ()  # beginnings of the notes that belong to it


ENTROPY = "entropy of the system enters: a generator without a seed, os.urandom or a process number"
ORDER = "results of workers are used in the order in which they end"
FIXES = (
    Fix("entropy", "fixed entropy", ENTROPY, ("a generator", "entropy", "the process")),
    Fix("Python's seed", "seeded Python", "Python's global generator has no seed"),
    Fix("torch's seed", "seeded torch", "torch's global generator has no seed"),
    Fix("NumPy's seed", "seeded NumPy", "NumPy's global generator has no seed"),
    Fix("clock", "stopped clock", CLOCK, ("the clock",)),
    Fix("listing", "sorted listing", FILES, ("a folder",)),
    Fix("order of results", "ordered results", ORDER, ("results",)),
    Fix("order of threads", "one thread", "threads add or write in no fixed order", ("threads",)),
    Fix("algorithms", "deterministic algorithms", "an algorithm of torch does not repeat"),
    Fix("memory", "filled memory", MEMORY),
)
ADDRESSES = "addresses of objects enter: an order by id() or by the default hash()"


def missing(needs: str) -> str:
    """Return a text that says what this machine lacks; empty if it has what is needed.

    `needs` is `linux`, `cuda`, `compiler` or an empty text.
    """
    if needs == "linux" and not sys.platform.startswith("linux"):
        return "only the C library of Linux can fill memory"
    if needs == "compiler" and not any(map(shutil.which, ("g++", "clang++", "cl"))):
        return "torch.compile needs a C++ compiler"
    if needs == "cuda":
        import torch

        if not torch.cuda.is_available():
            return "there is no CUDA device"
    return ""


def usable_fixes() -> list[Fix]:
    """Return the sources of differences, such as the clock, that can be held fixed on this machine.

    All can be held fixed on every machine, except `memory`, which needs Linux.
    """
    return [each for each in FIXES if each.option != "filled memory" or not missing("linux")]


def choose(only: Collection[str]) -> list[Change]:
    """Return the changes named in `only`; if it is empty, all changes except the slow torch.compile.

    Raises:
        ValueError: a name in `only` matches no change.
    """
    names = [each.name for each in CHANGES]
    if unknown := [each for each in only if each not in names]:
        raise ValueError(f"no change {', '.join(map(repr, unknown))}; there are {', '.join(names)}")
    return [each for each in CHANGES if each.name in only or (not only and each.name != SLOW)]
