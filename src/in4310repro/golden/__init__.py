"""Golden files: recorded results with the tier at which each is compared, their origin, and guarded updates.

`compare` compares computed values with a golden file, `writing.update` writes one, `plugin` is pytest's fixture.

A "case" is a function that computes named values; its golden file holds the values that it is expected to give. A
"tier" says how exactly a value must be reproduced: always, to the bit in the same numeric class, or within a tolerance.
A golden file shows that results have not changed; other tests must show that they are right.
"""

from in4310repro.golden.claims import Claim, Comparison
from in4310repro.golden.folder import compare, find_faults, find_orphans, read
from in4310repro.golden.writing import update

__all__ = ["Claim", "Comparison", "compare", "find_faults", "find_orphans", "read", "update"]
