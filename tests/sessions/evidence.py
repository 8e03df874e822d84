"""Programs that repeat the measurements shown in docs/, by name, and the function that runs them.

nox -s evidence                     the list
nox -s evidence -- NAME OPTIONS     runs one; options are those of its module
nox -s evidence -- sessions         writes docs/commands.md from the list and from noxfile.py
"""

from __future__ import annotations

import difflib
import runpy
import sys
from typing import NamedTuple

PRINTED = "prints"


class Evidence(NamedTuple):
    what: str
    writes: str  # path in the repository, or PRINTED
    cost: str
    module: str = ""  # else the one of its name in benchmarks


_LISTED = {
    "tolerances": Evidence(
        "how far the demo's numbers move between numeric classes", "tests/tolerances.json", "half an hour"
    ),
    "zoo": Evidence(
        "all leaves of 59 models of torchvision and timm, measured beside NumPy", PRINTED, "minutes, `.[bench]`"
    ),
    "mutants": Evidence(
        "one change at a time in each module and kernel, and whether tests notice it; `mutants metrics` renews a part",
        "docs/caught/mutants.csv",
        "15 minutes to record the tests, then hours; a room in half an hour",
        "tests.sessions.mutants",
    ),
    "forgeries": Evidence(
        "a run forged in more than 220 ways, and what catches each: `verify`, `verify --replay`, or nothing",
        "docs/caught/forgeries.csv",
        "minutes",
        "tests.forgeries.table",
    ),
    "leaves": Evidence(
        "each value of a run's JSON files changed to another valid one: found by `verify` and by check.html, or named "
        "among what each of them cannot show; `leaves --page` is the page alone",
        PRINTED,
        "half an hour, Chromium",
        "tests.forgeries.leaves",
    ),
    "fuzz": Evidence(
        "2,000 damaged run folders, TOML files, splits and printed results: no traceback, no hang, no file "
        "that was not named",
        "docs/caught/fuzz.csv",
        "6 minutes",
    ),
    "audit-validation": Evidence(
        "2,000 consistent reports audited, and as many with planted errors",
        "docs/audit-rules.md",
        "minutes",
        "tests.audit.validation",
    ),
    "planted": Evidence(
        "wrong labels and copies planted in drawn scenes, and how many `data check` finds", "docs/doubts.md", "minutes"
    ),
    "intervals": Evidence(
        "how often the 95 % intervals of reports hold the true value, in simulated test sets; reports print the lowest",
        "docs/runs.md",
        "20 minutes",
    ),
    "memory": Evidence(
        "anonymous memory of five commands at 1,000 to 64,000 images", "docs/memory.json", "minutes, Linux"
    ),
    "memory-limit": Evidence(
        "memory of each preset beside the assignment's 2 GB; `memory-limit --data FOLDER --imagenet FOLDER "
        "--cifar10 FOLDER`",
        "docs/own-network.md",
        "15 minutes, Linux, the photographs",
    ),
    "sanitizers": Evidence(
        "tests of kernels, checkpoints, replay and bad input, on kernels that g++'s AddressSanitizer, "
        "UndefinedBehaviorSanitizer and ThreadSanitizer watch; a wrong twin of a kernel has to be reported "
        "first; `sanitizers address` or `sanitizers threads` is one of the two runs",
        PRINTED,
        "minutes, g++ on Linux",
    ),
    "kernel-errors": Evidence("errors of the kernels beside torch's on the same data", "docs/arithmetic.md", "minutes"),
    "kernel-hashes": Evidence(
        "hashes of each kernel's results by instruction set, arm64 among them", PRINTED, "minutes, qemu-user"
    ),
    "replay": Evidence("epochs replayed with each instruction set of this processor", PRINTED, "a minute"),
    "shares": Evidence("training by one to five processes, all files compared", "docs/processes.md", "minutes"),
    "published": Evidence(
        "the page on the published numbers, again from its committed ones; `published RUN RUN...` of other runs",
        "reports/published.md",
        "seconds",
        "studies.published",
    ),
    "experiment": Evidence(
        "shared split and warm start, two by two, and the rival reading; `experiment RUN...` adds finished runs",
        "reports/experiment/experiment.md",
        "seconds, and a minute a run",
        "studies.experiment.page",
    ),
    "labels": Evidence(
        "the share of wrong labels, from a judge's verdicts; `labels FINDINGS RUN`",
        "reports/labels/labels.md",
        "the photographs, and a run on them",
        "studies.labels",
    ),
    "training-images": Evidence(
        "accuracy by the number of training images; `training-images --data FOLDER --findings FILE`",
        "reports/training-images/training-images.md",
        "the photographs, and trainings on them",
        "studies.training_images",
    ),
    "feature-maps": Evidence(
        "how spectra and non-positive shares depend on images, depth and weights; `feature-maps RUN... --data FOLDER "
        "--imagenet FOLDER --cifar10 FOLDER`",
        "reports/feature-maps/feature-maps.md",
        "the images and runs on them; a minute a network",
        "studies.feature_maps.command",
    ),
    "claims": Evidence(
        "where each number of the pages comes from", "docs/caught/claims.csv", "seconds", "tests.docs.claims"
    ),
    "causes": Evidence(
        "more than a hundred causes planted in trainings that nobody here wrote, recorded without changing a line, and "
        "what `diff` says of each; `causes --sources FOLDER` takes their code from there",
        "docs/causes.json",
        "half an hour, Linux, `.[frameworks]`, the network or clones",
        "benchmarks.foreign_causes",
    ),
    "explained-causes": Evidence(
        "more than twenty planted causes of different bits, and what `diff` and `explain` say of each; and of twenty "
        "honest trainings",
        "docs/caught/causes.csv",
        "minutes, Linux",
        "benchmarks.causes",
    ),
    "depths": Evidence(
        "mAP and mean class accuracy of ResNets of five depths; `depths RUN...` adds finished runs",
        "docs/own-network.md",
        "half an hour",
        "studies.depths",
    ),
    "exports": Evidence(
        "exports of a tiny run in every format, and what the validator of each format's community says of them",
        PRINTED,
        "a minute",
    ),
    "check-page": Evidence(
        "the page that checks a run, in Chromium and Firefox: times, sizes, and falsified runs that it finds",
        "docs/verification.md",
        "minutes, both browsers",
    ),
    "picture": Evidence(
        "the picture of the demo's page, and the demo's processor time",
        "docs/images/report.png",
        "minutes, Chromium",
    ),
    "mistakes": Evidence(
        "known mistakes, each beside the right way", "docs/caught/mistakes.csv", "seconds", "tests.mistakes.table"
    ),
    "bad-input": Evidence(
        "what is refused, and in which words", "docs/caught/bad-input.csv", "seconds", "tests.bad_input.table"
    ),
    "checks": Evidence(
        "what `verify` recomputes and compares", "docs/verification.md", "seconds", "tests.verification.table"
    ),
    "rooms": Evidence("the rooms of the package", "docs/architecture.md", "seconds", "tests.docs.rooms"),
    "sessions": Evidence("this page", "docs/commands.md", "seconds", "tests.sessions.page"),
}
EVIDENCE = {
    name: each._replace(module=each.module or f"benchmarks.{name.replace('-', '_')}") for name, each in _LISTED.items()
}


def main() -> None:
    name, *options = sys.argv[1:] or [""]
    if not name:
        width = max(map(len, EVIDENCE))
        lines = (f"{name:{width}}  {each.what} ({each.writes}; {each.cost})\n" for name, each in EVIDENCE.items())
        sys.stdout.write("".join(lines))
    elif name not in EVIDENCE:
        close = difflib.get_close_matches(name, EVIDENCE, 1)
        meant = f"; did you mean {close[0]}?" if close else ""
        sys.exit(f"evidence: no {name!r}; it must be one of {', '.join(EVIDENCE)}{meant}")
    else:
        sys.argv = [EVIDENCE[name].module, *options]
        runpy.run_module(EVIDENCE[name].module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
