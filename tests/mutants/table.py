"""The test files of each module, and the reasons why some changes make no difference to any test.

The files are the smallest set that should notice a module's changes, the quickest first.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

PACKAGE = "src/in4310repro"
LIST = Path(__file__).with_name("equivalent.toml")


@dataclass(frozen=True)
class Module:
    """A module of the package, its subpackage and its test files."""

    room: str
    file: str
    tests: tuple[str, ...]


def _name_tests(folder: str, names: str) -> tuple[str, ...]:
    """Return the paths of test files for names without `test_`; a name with a slash is already a path."""
    return tuple(f"{folder}/{name if '/' in name else f'test_{name}'}.py" for name in names.split())


# Modules whose test files are not the one of their name.
FEATURES = {
    "activations": "top_images histogram",
    "axes": "axes statistics hooks outputs",
    "blocks": "blocks range",
    "covariance": "covariance range blocks",
    "distributed": "blocks distributed",
    "hooks": "hooks inputs outputs statistics",
    "kernel": "sparsity kernel statistics",
    "result": "statistics blocks result top_images",
    "spectra": "spectra statistics blocks",
    "statistics": "statistics hooks outputs",
    "stream": "statistics blocks top_images",
    "tensors": "outputs inputs hooks statistics",
}
ARITHMETIC = {
    "buffers": "buffers memory fork",
    "functions": "refusals functions linear loss normalisation layers",
    "library": "library linear views signatures",
    "layers": "layers normalisation",
    "networks": "layers",
    "pooling": "refusals layers functions",
    "products": "refusals layers convolution product linear",
    "self_test": "self_test library",
    "shares": "shares layers ../features/test_blocks",
    "signatures": "signatures views",
    "tree": "shares loss",
}
GOLDEN = {
    "claims": "golden_claims golden_plugin",
    "comparison": "golden_claims",
    "folder": "golden_lists golden_writes golden_plugin",
    "plugin": "golden_plugin",
    "requests": "golden_plugin",
    "writing": "golden_writes golden_writing",
}
RUNS = {
    "settings": "config optimizer_table",
    "records": "finished",
}
READERS = "wild parts grids files labels numbers reports subjects forms leftovers"
AUDIT = (
    "averages gaps claims scores report_scores joint sheets sizes pages weights power no_class share_matrices "
    "document intervals oddities core image_sets html command accusations examine"
)
# What reports of all habits say is held by the last ones; no test of habits reads a report.
HABITS = tuple(f"tests/audit/test_{name}.py" for name in ("printed", "habits"))
READER_TESTS = (*_name_tests("tests/audit/readers", READERS), HABITS[0])
AUDIT_TESTS = (*_name_tests("tests/audit", AUDIT), *HABITS)


def list_modules(root: Path) -> list[Module]:
    """Return all modules, in the order of the table."""
    return [
        *_list_room(root, "metrics", "tests", {}, "metrics metric_table"),
        *_list_room(root, "features", "tests/features", FEATURES, "statistics hooks outputs"),
        Module("data/splits", "data/splits.py", ("tests/data/test_splits.py",)),
        Module(
            "data/near_duplicates",
            "data/near_duplicates.py",
            ("tests/data/test_near_duplicates.py",),
        ),
        Module("training", "training/head.py", ("tests/training/test_head.py",)),
        Module("evaluation", "evaluation/embedding.py", ("tests/training/test_head.py",)),
        Module("models", "models/trained_part.py", ("tests/models/test_trained_part.py",)),
        Module("training", "training/preparation.py", ("tests/training/test_preparation.py",)),
        *_list_room(root, "evaluation/doubts", "tests/evaluation/doubts", {}),
        Module("evaluation", "evaluation/evaluation.py", ("tests/evaluation/test_evaluation.py",)),
        Module("evaluation", "evaluation/seen.py", ("tests/evaluation/test_evaluation.py",)),
        *_list_room(root, "golden", "tests", GOLDEN),
        Module("training", "training/checkpoints.py", ("tests/test_checkpoint_files.py",)),
        *_list_room(root, "runs", "tests/runs", RUNS),
        *(_make_module(root, path, AUDIT_TESTS, "audit") for path in _list_files(root, "audit")),
        *(_make_module(root, path, READER_TESTS, "audit") for path in _list_files(root, "audit/readers")),
        *_list_room(root, "arithmetic", "tests/arithmetic", ARITHMETIC),
    ]


def _list_room(root: Path, room: str, folder: str, names: dict[str, str], others: str = "") -> list[Module]:
    """Return the modules of a folder with their test files, which `names` or the name of the module determines.

    A module without a test file of its name has the test files `others`.
    """
    return [
        _make_module(
            root,
            path,
            _name_tests(
                folder,
                names.get(path.stem, path.stem if (root / folder / f"test_{path.stem}.py").exists() else others),
            ),
            room,
        )
        for path in _list_files(root, room)
    ]


def _list_files(root: Path, folder: str) -> list[Path]:
    """Return the modules of a folder without `__init__.py`, or the single module of that name."""
    paths = sorted((root / PACKAGE).glob(f"{folder}.py")) + sorted((root / PACKAGE / folder).glob("*.py"))
    return [path for path in paths if path.name != "__init__.py"]


def _make_module(root: Path, path: Path, tests: tuple[str, ...], room: str) -> Module:
    return Module(room, str(path.relative_to(root / PACKAGE)), tests)


@dataclass(frozen=True)
class Reason:
    """A change that no test can notice, identified by module, function and line, with the reason why."""

    module: str
    function: str
    before: str
    after: str
    reason: str

    @property
    def key(self) -> tuple[str, str, str]:
        """Key that identifies the change, as in `Change.key`."""
        return self.function, self.before, self.after


def read_reasons(file: Path = LIST) -> list[Reason]:
    entries = tomllib.loads(file.read_text(encoding="utf-8")).get("equivalent", []) if file.exists() else []
    names = {field.name for field in fields(Reason)}
    for entry in entries:
        if set(entry) != names or len(str(entry["reason"]).split()) < 3:
            raise ValueError(
                f"{file.name}: {entry} is no reason; {', '.join(sorted(names))} are valid, reason in words"
            )
    return [Reason(**entry) for entry in entries]
