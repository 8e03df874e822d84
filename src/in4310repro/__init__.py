"""Train networks by the assignment of a published report on image classification, and check their numbers.

The command line is the main interface: see `in4310repro --help`, and README.md of the repository. The names
below are the interface in Python, each with an example in docs/api/python.md. They are imported on first
use, so that `import in4310repro` loads no library. `in4310repro.features`, `in4310repro.metrics`,
`in4310repro.audit`, `in4310repro.golden` and `in4310repro.arithmetic` are independent libraries
(docs/features.md, docs/audit.md, docs/golden-files.md, docs/arithmetic.md). The other subpackages serve the
commands and may change (docs/architecture.md).
"""

from importlib import import_module, metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from in4310repro.audit.examine import audit as audit_text
    from in4310repro.evaluation.evaluation import evaluate, label as predict
    from in4310repro.features import FeatureStatistics
    from in4310repro.runs.config import Config
    from in4310repro.runs.finished import FinishedRun
    from in4310repro.runs.presets import PRESETS
    from in4310repro.system.context import Context
    from in4310repro.training.experiment import train
    from in4310repro.verification.compare import compare_runs
    from in4310repro.verification.routine import verify

    __version__: str

__all__ = [
    "PRESETS",
    "Config",
    "Context",
    "FeatureStatistics",
    "FinishedRun",
    "__version__",
    "audit_text",
    "compare_runs",
    "evaluate",
    "predict",
    "train",
    "verify",
]

# No name may be that of a subpackage: importing the subpackage would replace the attribute.
_PLACES = {
    "PRESETS": "runs.presets",
    "Config": "runs.config",
    "Context": "system.context",
    "FeatureStatistics": "features",
    "FinishedRun": "runs.finished",
    "audit_text": "audit.examine",
    "compare_runs": "verification.compare",
    "evaluate": "evaluation.evaluation",
    "predict": "evaluation.evaluation",
    "train": "training.experiment",
    "verify": "verification.routine",
}
# Public names of functions that have another one in their module.
_RENAMED = {"audit_text": "audit", "predict": "label"}


def __getattr__(name: str) -> object:
    """Import a public name of the package on first access."""
    if name == "__version__":
        return metadata.version(__name__)
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), _RENAMED.get(name, name))


def __dir__() -> list[str]:
    return [*{*globals(), *__all__}]
