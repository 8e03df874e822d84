"""Golden files: recorded results with the tier at which each is compared, their origin, and guarded updates.

A golden says "unchanged"; that it was right in the first place is for the oracles to say.
"""

from in4310repro.golden.claims import TIERS, Case, Claim
from in4310repro.golden.commands import NOX, PYTEST, Command
from in4310repro.golden.comparison import NOT_COMPARED, Comparison, compare, stale_faults
from in4310repro.golden.environments import ENVIRONMENTS, LIBRARIES, Environment, Environments, read_environments
from in4310repro.golden.folder import (
    PROVENANCE,
    device_folder,
    find_faults,
    find_file_faults,
    find_orphans,
    list_files,
    read,
)
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
    "device_folder",
    "find_faults",
    "find_file_faults",
    "find_orphans",
    "list_files",
    "read",
    "read_environments",
    "renew",
    "stale_faults",
    "update",
]
