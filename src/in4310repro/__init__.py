"""Train image classification networks as an assignment prescribes, and check the numbers in its report.

The command line is the main interface: see `in4310repro --help` and the repository's README.md. These
Python functions and modules may be used by themselves; everything else is internal and may change.

* `in4310repro.features.FeatureStatistics`: statistics of any module's outputs in one pass; docs/features.md
* `in4310repro.metrics`: class accuracy and average precision
* `in4310repro.golden`: golden files, and a pytest plugin; docs/golden-files.md
* `in4310repro.audit.examine.audit`: contradictions among a report's numbers; docs/audit.md
* `in4310repro.experiment.train`: the function behind `in4310repro train`; docs/runs.md lists its files
* `in4310repro.verification.verify`: the function behind `in4310repro verify`; docs/verification.md

`__version__` is the version of the installed package.
"""

from __future__ import annotations

__all__ = ["__version__"]

__version__: str


def __getattr__(name: str) -> str:
    """Return `__version__`, which is looked up only when it is accessed so that commands start fast."""
    if name == "__version__":
        from importlib import metadata

        return metadata.version("in4310repro")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; help({__name__}) lists what stands by itself")
