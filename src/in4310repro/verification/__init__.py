"""Verification of a run: values recomputed from its weights, images, seed and split, and compared with its files.

`verify` recomputes, `replay` trains epochs again, `compare` compares two runs, `tampering` falsifies a copy of a run.
"""

from in4310repro.verification.folder import (
    changed_essentials,
    changed_files,
    describe,
    other_manifest,
    recorded_files,
    unchecked_in,
    wrong_in_manifest,
)
from in4310repro.verification.routine import (
    Verification,
    last_lines,
    verdict_of_agreement,
    verdict_of_differences,
    verify,
)
from in4310repro.verification.scores import SCORE_TOLERANCE, score_differences

__all__ = ["SCORE_TOLERANCE", "Verification", "changed_essentials", "changed_files", "describe", "last_lines"]
__all__ += ["other_manifest", "recorded_files", "score_differences", "unchecked_in", "verdict_of_agreement"]
__all__ += ["verdict_of_differences", "verify", "wrong_in_manifest"]
