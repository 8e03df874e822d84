"""A deposit: one zip file with a run, its report and what other formats say of it, for `verify` on any machine."""

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import in4310repro
from in4310repro.export import facts, in_toto, ro_crate
from in4310repro.export.formats import Contents
from in4310repro.export.table import Extras
from in4310repro.report import check_page
from in4310repro.report.page import list_report_files
from in4310repro.report.score_exhibits import WITH_PHOTOGRAPHS
from in4310repro.runs import names
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.files import file_sha256
from in4310repro.verification.bundle import IMAGES, README, REPORT, RUN, STATEMENT

Part = tuple[str, Callable[[FinishedRun, Extras], Contents]]


# Formats that a bundle holds, each after the folder of its files; an empty one is the bundle's root.
PARTS: tuple[Part, ...] = ((f"{STATEMENT}/", in_toto.contents), ("", ro_crate.contents))
CHECK_IMAGES = (check_page.IMAGES, check_page.PIXELS)  # beside the page, which reads them


def contents(run: FinishedRun, extras: Extras, parts: Sequence[Part] = PARTS) -> dict[str, bytes | Path]:
    """Return the files of a bundle; equal runs and extras give equal ones.

    They are the files of the run's manifest, the kept epochs of the selected setting, which `verify --replay` needs,
    and a README. Checkpoints and logs are left out, and photographs unless extras ask for them.

    Args:
        run: a finished run as it was written.
        extras: the report, the folder of the images if the bundle shall hold them, and whether a report with
            photographs or decoded images may be in it.
        parts: folder and contents of each further format. Of these, files that are copies are left out: what they
            copy is in the bundle already.

    Raises:
        ValueError: the run's configuration names a private place, the report shows photographs, or an image is missing
            or has changed.
        OSError: a file cannot be read.
    """
    for name, shown in facts.private_places(run.config).items():
        raise ValueError(
            f"{run.folder / names.CONFIG}: {name} is {getattr(run.config, name)}, which shows where files are on a "
            f"machine and is hashed with the run; a bundle can hold a run whose training was given a name such as "
            f"{shown}, relative to the folder that it was started in"
        )
    files: dict[str, bytes | Path] = {f"{RUN}/{name}": run.folder / name for name in _run_files(run)}
    if extras.report is not None:
        files |= {f"{REPORT}/{name}": extras.report / name for name in _report_files(run, extras.report, extras)}
    if extras.images is not None:
        split = run.split_below(f"{extras.images}")
        files |= {f"{IMAGES}/{entry.path}": split.root / entry.path for entry in split.catalogue().entries}
    for folder, contents_of in parts:
        # An RO-Crate says when it is published.
        made = {} if contents_of is ro_crate.contents and not extras.date else contents_of(run, extras)
        files |= {f"{folder}{name}": each for name, each in made.items() if isinstance(each, bytes)}
    return files | {README: _readme(run, files).encode()}


def _run_files(run: FinishedRun) -> Iterator[str]:
    yield names.MANIFEST
    yield from run.files.manifest()
    kept = f"{run.metrics['setting']}/{names.KEPT_EPOCHS}"
    for file in sorted((run.folder / kept).glob("*")):
        if names.is_kept_epoch(name := f"{kept}/{file.name}", run.config.epochs):
            yield run.files.file(name).relative_to(run.folder).as_posix()


def _report_files(run: FinishedRun, report: Path, extras: Extras) -> Iterator[str]:
    listed = list_report_files(report)
    photographs = run.config.data is not None
    if photographs and not extras.pixels and WITH_PHOTOGRAPHS in listed:
        raise ValueError(
            f"{report} shows photographs; --pixels bundles them, and `report --no-photographs` writes a report without"
        )
    left_out = set(CHECK_IMAGES) if photographs and not extras.pixels else set()
    wanted = {*listed, *CHECK_IMAGES} - left_out
    yield from (name for name in wanted if (report / name).is_file())


def _readme(run: FinishedRun, contents: Collection[str]) -> str:
    """Return the text for whoever finds the bundle later; its lines with sha256 are as sha256sum writes them."""
    fingerprint = run.fingerprint
    version, commit = fingerprint["versions"].get("in4310repro", "unknown"), fingerprint["git"]["commit"]
    weights = facts.selected_weights(run)
    hashes = {names.MANIFEST: file_sha256(run.folder / names.MANIFEST), weights: run.files.manifest()[weights]}
    has_page = f"{REPORT}/{check_page.PAGE}" in contents
    has_images = any(each.startswith(f"{IMAGES}/") for each in contents)
    drawn = "are not in here" if run.config.data else "are drawn by the package"
    lines = (
        "A run of the Python package in4310repro: networks that classify images, and the records of their training.",
        f"Made by version {version}, commit {commit or 'unknown'}; {fingerprint['numerics']} arithmetic, numeric class "
        f"{fingerprint['numeric_class']}.",
        "sha256 of its manifest, which has those of all its files, and of the selected weights:",
        *(f"{sha256}  {RUN}/{name}" for name, sha256 in hashes.items()),
        f"To compute its numbers again, install version {in4310repro.__version__}, which wrote this file, and run: "
        "in4310repro verify BUNDLE.zip",
        f"To check them in a browser, without installation, open {REPORT}/{check_page.PAGE} and give it {RUN}."
        if has_page
        else "No page that checks them in a browser is in here; in4310repro report writes one.",
        f"The images that {RUN}/{names.SPLIT} names by sha256 {f'are below {IMAGES}' if has_images else drawn}.",
        "In the source of the package, docs/runs.md says what each file holds, docs/verification.md what is checked,",
        "and docs/arithmetic.md has every formula of portable arithmetic, so that it can be written again.",
    )
    return "\n".join([*lines, ""])
