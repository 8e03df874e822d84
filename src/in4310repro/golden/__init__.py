"""Golden files: recorded results with the tier at which each is compared, their origin, and guarded updates.

A "case" is a function that computes named values; its golden file holds the values that it is expected to give. A
"tier" says how exactly a value must be reproduced: always, to the bit in the same numeric class, or within a tolerance.
A golden file shows that results have not changed; other tests must show that they are right.
"""

from in4310repro.golden.claims import NOT_COMPARED, TIERS, Case, Claim, Comparison
from in4310repro.golden.folder import (
    ENVIRONMENTS,
    LIBRARIES,
    NOX,
    PROVENANCE,
    PYTEST,
    Command,
    Environment,
    Environments,
    compare,
    device_folder,
    find_faults,
    find_file_faults,
    find_orphans,
    list_files,
    read,
    read_environments,
    stale_faults,
)
from in4310repro.golden.writing import renew, update

__all__ = ["ENVIRONMENTS", "LIBRARIES", "NOT_COMPARED", "NOX", "PROVENANCE", "PYTEST", "TIERS", "Case", "Claim"]
__all__ += ["Command", "Comparison", "Environment", "Environments", "compare", "device_folder", "find_faults"]
__all__ += ["find_file_faults", "find_orphans", "list_files", "read", "read_environments", "renew", "stale_faults"]
__all__ += ["update"]
