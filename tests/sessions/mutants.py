"""Mutation tests: changes one thing at a time in the modules that compute numbers, and runs their tests."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.mutants import kernels, page, table
from tests.mutants.survey import find_stale_reasons, start_workers, survey
from tests.mutants.trials import import_libraries

ROOT = Path(__file__).parents[2]
SAMPLE, SEED = 12, 0


def main() -> None:
    parser = argparse.ArgumentParser(prog="nox -s evidence -- mutants", description=__doc__)
    parser.add_argument("modules", nargs="*", help="head.py, a folder such as features, or kernels; default: all")
    parser.add_argument("--sample", type=int, default=SAMPLE, help="number of changes of a module; 0: all")
    parser.add_argument("--seed", type=int, default=SEED, help="seed of the sample")
    parser.add_argument("--workers", type=int, default=2, help="processes that try changes")
    parser.add_argument("--no-page", action="store_true", help="leave docs/mutants.md as it is")
    arguments = parser.parse_args()
    every = table.list_modules(ROOT)
    words = arguments.modules or [*{module.file.partition("/")[0] for module in every}, "kernels"]
    chosen = [module for module in every if any(_names(word, module.file) for word in words)]
    if not chosen and "kernels" not in words:
        parser.error(f"no module {words}; valid values are kernels, {', '.join(module.file for module in every)}")
    start, known, faulty = time.monotonic(), table.read_reasons(), []
    import_libraries()
    with start_workers(ROOT, arguments.workers) as pool:
        rows = survey(chosen, ROOT, pool, arguments.sample or None, arguments.seed, _say)
    if "kernels" in words:
        # In new copies, since these end up with changed kernels.
        with start_workers(ROOT, arguments.workers) as pool:
            faulty = kernels.survey(pool, _say)
    content = page.entries([row for row in rows if not row.faults], arguments.sample, arguments.seed)
    _say(f"{page.table(content, known)}\n\n{page.survivors(content, known)}\n\n{page.faults_table(faulty)}")
    wrong = [f"{row.module.file}: {fault}" for row in rows for fault in row.faults] + find_stale_reasons(
        known, rows, ROOT
    )
    wrong += [f"{fault['source']}: no test notices: {fault['fault']}" for fault in faulty if not fault["killed"]]
    wrong += [f"{room}: less than {page.REQUIRED:.0%} killed" for room in page.find_weak_parts(content, known)]
    _say("\n".join([*wrong, f"{sum(row.tried for row in rows)} changes in {time.monotonic() - start:.0f} s"]))
    if not arguments.no_page:
        page.update(content, faulty, known, [module.file for module in every])
    sys.exit(bool(wrong))


def _names(word: str, file: str) -> bool:
    """Return True if a command-line argument names the module or a folder that contains it."""
    return word == file or file.startswith(f"{word.rstrip('/')}/")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
