"""Train networks for image classification as a published report assigns it, and check the numbers that come out.

The command line is the face of the package: `in4310repro --help`, and README.md of the repository. In Python these
libraries stand by themselves; the rest is what the commands are made of and may change.

* `in4310repro.features.FeatureStatistics`: statistics of any module's outputs in one pass; docs/features.md
* `in4310repro.metrics`: class accuracy and average precision
* `in4310repro.golden`: golden files, and a pytest plugin; docs/golden-files.md
* `in4310repro.audit.examine.audit`: what contradicts itself in printed numbers; docs/audit.md
* `in4310repro.training.experiment.train`: what `in4310repro train` calls; docs/runs.md says what it leaves
* `in4310repro.verification.verify`: what `in4310repro verify` calls; docs/verification.md

`__version__` is that of the installation.
"""

from __future__ import annotations

__all__ = ["__version__"]

__version__: str


def __getattr__(name: str) -> str:
    """Return the version; it is looked up on first access, so that commands start fast."""
    if name == "__version__":
        from importlib import metadata

        return metadata.version("in4310repro")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; help({__name__}) lists what stands by itself")
