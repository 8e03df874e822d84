"""The test files of each module: the smallest set that should notice its changes, the quickest first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PACKAGE = "src/in4310repro"


@dataclass(frozen=True)
class Module:
    """A module, the part of the package that it is counted under, and its test files."""

    room: str
    file: str
    tests: tuple[str, ...]


FEATURES = ("test_statistics", "test_hooks", "test_outputs")
FEATURE_TESTS = {
    "activations": ("test_top_images", "test_histogram"),
    "blocks": ("test_blocks", "test_range"),
    "covariance": ("test_covariance", "test_range", "test_blocks"),
    "distributed": ("test_blocks", "test_distributed"),
    "hooks": ("test_hooks", "test_inputs", "test_outputs", "test_statistics"),
    "kernel": ("test_sparsity", "test_kernel", "test_statistics"),
    "result": ("test_statistics", "test_blocks", "test_result", "test_top_images"),
    "spectra": ("test_spectra", "test_statistics", "test_blocks"),
    "statistics": FEATURES,
    "stream": ("test_statistics", "test_blocks", "test_top_images"),
    "tensors": ("test_outputs", "test_inputs", "test_hooks", "test_statistics"),
}
ARITHMETIC_TESTS = {
    "buffers": ("test_buffers", "test_memory", "test_fork"),
    "convolutions": ("test_refusals", "test_layers", "test_convolution"),
    "functions": ("test_refusals", "test_functions", "test_linear", "test_loss", "test_normalisation", "test_layers"),
    "library": ("test_library", "test_linear", "test_views", "test_signatures"),
    "matrices": ("test_refusals", "test_product", "test_linear"),
    "layers": ("test_layers", "test_normalisation"),
    "networks": ("test_layers",),
    "pooling": ("test_refusals", "test_layers", "test_functions"),
    "self_test": ("test_self_test", "test_library"),
    "shares": ("test_shares", "test_layers", "../features/test_blocks"),
    "signatures": ("test_signatures", "test_views"),
    "steps": ("test_steps",),
    "tree": ("test_shares", "test_loss"),
}
GOLDEN: dict[str, tuple[str, ...]] = {
    "claims": ("test_golden_claims", "test_golden_plugin"),
    "comparison": ("test_golden_claims",),
    "folder": ("test_golden_lists", "test_golden_writes", "test_golden_plugin"),
    "plugin": ("test_golden_plugin",),
    "writing": ("test_golden_writes", "test_golden_writing"),
}
RUNS: dict[str, tuple[str, ...]] = {
    "config": ("test_config",),
    "deviations": ("test_deviations",),
    "presets": ("test_presets",),
    "settings": ("test_config", "test_optimizer_table"),
    "chain": ("test_chain",),
    "consistency": ("test_consistency",),
    "finished": ("test_finished", "test_chance", "test_sent"),
    "folder": ("test_folder", "test_arrays", "test_status"),
    "names": ("test_names",),
    "records": ("test_finished",),
    "selection": ("test_selection", "test_measured"),
}
DOUBTS: dict[str, tuple[str, ...]] = {
    name: (f"test_{name}",) for name in ("examination", "features", "labels", "resemblances")
}
READERS = ("wild", "parts", "grids", "files", "labels", "numbers", "reports", "subjects", "forms")
# What reports of all habits say is held by the last ones.
HABITS = tuple(f"tests/audit/test_{name}.py" for name in ("printed", "habits"))
# No test of habits reads a report.
READER_TESTS = (*(f"tests/audit/readers/test_{name}.py" for name in READERS), HABITS[0])
AUDIT = (
    "averages",
    "gaps",
    "claims",
    "scores",
    "sheets",
    "sizes",
    "pages",
    "weights",
    "power",
    "no_class",
    "share_matrices",
    "document",
    "units",
    "intervals",
    "oddities",
    "core",
    "image_sets",
    "html",
    "command",
    "accusations",
    "examine",
)
AUDIT_TESTS = (*(f"tests/audit/test_{name}.py" for name in AUDIT), *HABITS)


def list_modules(root: Path) -> list[Module]:
    """Return all modules, in the order of the table."""
    return [
        *_list_room(root, "metrics", {}, "tests", ("test_metrics", "test_metric_table")),
        *_list_room(root, "features", FEATURE_TESTS, "tests/features", FEATURES),
        Module("data/splits", "data/splits.py", ("tests/data/test_splits.py",)),
        Module("data/linking", "data/linking.py", ("tests/data/test_linking.py",)),
        Module("data/matching", "data/matching.py", ("tests/data/test_matching.py",)),
        Module("data/orientations", "data/orientations.py", ("tests/data/test_orientations.py",)),
        Module("training", "training/head.py", ("tests/training/test_head.py",)),
        Module("evaluation", "evaluation/embedding.py", ("tests/training/test_head.py",)),
        Module("models", "models/trained_part.py", ("tests/models/test_trained_part.py",)),
        Module("training", "training/preparation.py", ("tests/training/test_preparation.py",)),
        *_list_room(root, "evaluation/doubts", DOUBTS, "tests/evaluation/doubts", ()),
        Module("evaluation", "evaluation/evaluation.py", ("tests/evaluation/test_evaluation.py",)),
        *_list_room(root, "golden", GOLDEN, "tests", ()),
        Module("training", "training/checkpoints.py", ("tests/test_checkpoint_files.py",)),
        *_list_room(root, "runs", RUNS, "tests/runs", ()),
        *(_make_module(root, path, AUDIT_TESTS, "audit") for path in _list_files(root, "audit")),
        *(_make_module(root, path, READER_TESTS, "audit") for path in _list_files(root, "audit/readers")),
        *_list_room(root, "arithmetic", ARITHMETIC_TESTS, "tests/arithmetic", ()),
    ]


def _list_room(
    root: Path, room: str, names: dict[str, tuple[str, ...]], folder: str, others: tuple[str, ...]
) -> list[Module]:
    """Return the modules of a folder with their test files: those that `names` lists, else `others`."""
    paths = _list_files(root, room)
    return [
        _make_module(root, path, tuple(f"{folder}/{n}.py" for n in names.get(path.stem, others)), room)
        for path in paths
    ]


def _list_files(root: Path, folder: str) -> list[Path]:
    """Return the modules of a folder without `__init__.py`, or the single module of that name."""
    paths = sorted((root / PACKAGE).glob(f"{folder}.py")) + sorted((root / PACKAGE / folder).glob("*.py"))
    return [path for path in paths if path.name != "__init__.py"]


def _make_module(root: Path, path: Path, tests: tuple[str, ...], room: str) -> Module:
    return Module(room, str(path.relative_to(root / PACKAGE)), tests)
