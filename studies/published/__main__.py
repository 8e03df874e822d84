"""Regenerate reports/published.md from its committed numbers, or write it of the runs that are named.

python -m studies.published [CORRECTED PUBLISHED... OPTIONS]
"""

import sys
from pathlib import Path

from in4310repro.audit.examine import audit
from in4310repro.system.files import json_bytes, read_json, write_file
from studies import commands
from studies.ablation import read_report
from studies.published import evidence
from studies.published.evidence import consequences
from studies.published.page import PRINTED, write_page

REPORTS = Path(__file__).parents[2] / "reports"
ABLATIONS = [f"{name}/ablation.json" for name in ("ablation-course", "ablation")]


def write(reports: Path) -> list[Path]:
    """Recompute all values derived from the runs' numbers, write the page, and return the written files."""
    printed = audit(REPORTS / PRINTED)
    numbers, found = read_json(REPORTS / "published" / "numbers.json"), read_json(REPORTS / evidence.FILE)
    numbers["consequences"] = consequences(numbers["corrected"], numbers["published"])
    corrected, published = found["corrected"], found["published"]
    found |= {
        "consequences": consequences(corrected, published),
        "likelihoods": evidence.likelihoods(corrected, published, evidence.printed_counts(printed)),
    }
    written = write_file(reports / evidence.FILE, json_bytes(found))
    ablations = [read_report(REPORTS / file) for file in ABLATIONS]
    return [written, *write_page(numbers, printed, ablations, reports, places=ABLATIONS)]


if __name__ == "__main__":
    if sys.argv[1:]:
        commands.main(["published", *sys.argv[1:]])
    write(REPORTS)
