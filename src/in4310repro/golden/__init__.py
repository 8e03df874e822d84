"""Golden files: what a result was, at which tier it is compared, where it was written, and guarded updates.

A golden says "unchanged"; that it was right in the first place is for the oracles to say.
"""

from in4310repro.golden.claims import TIERS, Case, Claim
from in4310repro.golden.commands import NOX, PYTEST, Command
from in4310repro.golden.comparison import NOT_COMPARED, Comparison, compare, stale
from in4310repro.golden.environments import ENVIRONMENTS, LIBRARIES, Environment, Environments, read_environments
from in4310repro.golden.folder import PROVENANCE, faults, file_faults, files, of_device, orphans, read
from in4310repro.golden.writing import renew, update

__all__ = [
    "ENVIRONMENTS",
    "LIBRARIES",
    "NOT_COMPARED",
    "NOX",
    "PROVENANCE",
    "PYTEST",
    "TIERS",
    "Case",
    "Claim",
    "Command",
    "Comparison",
    "Environment",
    "Environments",
    "compare",
    "faults",
    "file_faults",
    "files",
    "of_device",
    "orphans",
    "read",
    "read_environments",
    "renew",
    "stale",
    "update",
]
