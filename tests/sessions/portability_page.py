"""The table in docs/bits.md of the machines whose bits were compared, from docs/portability.json."""

from pathlib import Path
from typing import Any

from tests.audit.validation_page import replaced

ROOT = Path(__file__).parents[2]
NUMBERS, PAGE, MARK = ROOT / "docs/portability.json", ROOT / "docs/bits.md", "portability"
EIGENVALUES = "eigenvalues"
CONTROL = "control: torch's weight gradient"
HERE = "here"


def with_table(text: str, numbers: dict[str, Any]) -> str:
    return replaced(text, table(numbers), MARK)


def table(numbers: dict[str, Any]) -> str:
    """Return a table of machines, with the number of stages whose bits equal the first machine's."""
    rows: list[tuple[str, ...]] = [
        ("processor", "torch", "stages with equal bits", "eigenvalues differ by at most", "control")
    ]
    rows.append(("---",) * len(rows[0]))
    expected = next(iter(numbers["places"].values()))["stages"]
    for place, found in numbers["places"].items():
        equal = {stage: found["stages"][stage] == expected[stage] for stage in expected}
        controlled = equal.pop(CONTROL)
        if place.startswith(HERE):
            count = place.split()[1]
            name = f"{numbers['here']['processor']}, {count} thread{'s' * (count != '1')}"
        else:
            name = f"{place}, emulated"
        rows.append(
            (
                f"{name} ({found['vectors']})",
                found["torch"],
                f"{sum(equal.values())} of {len(equal)}",
                f"{found[EIGENVALUES]:.0e}" if found[EIGENVALUES] else "0",
                "equal" if controlled else "differs",
            )
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
