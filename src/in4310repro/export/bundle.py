"""A deposit: one zip file with a run, its report and what other formats say of it, for `verify` on any machine."""

from __future__ import annotations

import filecmp
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import in4310repro
from in4310repro.export import in_toto, ro_crate
from in4310repro.export.extras import Extras
from in4310repro.report import check_page
from in4310repro.report.check import list_report_files, report_differences
from in4310repro.report.exhibit import figure_name
from in4310repro.report.photographs import RANKING
from in4310repro.runs import names
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.presets import publishable
from in4310repro.system import archive
from in4310repro.system.files import file_sha256
from in4310repro.system.signals import temporary_folder
from in4310repro.verification.bundle import IMAGES, README, REPORT, RUN, STATEMENT
from in4310repro.verification.folder import changed_files, files_without_line

FILE = "bundle.zip"
Export = Callable[[FinishedRun, Path, Extras], list[Path]]


def _crate(run: FinishedRun, to: Path, extras: Extras) -> list[Path]:
    """Write an RO-Crate, which says when it is published; none without a date."""
    return ro_crate.export(run, to, extras) if extras.date else []


# Formats that a bundle holds, each with the folder for its files; an empty one is the bundle's root.
PARTS: tuple[tuple[str, Export], ...] = ((STATEMENT, in_toto.export), ("", _crate))
CHECK_IMAGES = (check_page.IMAGES, check_page.PIXELS)  # beside the page, which reads them
PLACES = ("data", "weights", "imagenet", "cifar10")  # of a configuration: names of folders and files


def export(run: FinishedRun, to: Path, extras: Extras, parts: Sequence[tuple[str, Export]] = PARTS) -> list[Path]:
    """Write a bundle of a run into a folder, as `bundle.zip`; equal runs and extras give equal bytes.

    A bundle that is there is kept if it has the same bytes, and refused otherwise.

    The bundle holds the files of the run's manifest, the kept epochs of the selected setting, which `verify --replay`
    needs, and a README. It holds no checkpoints and logs, and no photographs unless extras ask for them.

    Args:
        run: a finished run.
        to: the folder of the bundle, which is created.
        extras: the report, the folder of the images if the bundle shall hold them, and whether a report with
            photographs or decoded images may be in it.
        parts: folder and function of each further format, of whose files those are left out that are in it already.

    Raises:
        ValueError: the run was changed after it was written, its configuration names a private place, the report is of
            another run or shows photographs, an image is missing or has changed, a name is not valid everywhere, or
            another bundle is there.
        OSError: a file cannot be read or written.
    """
    if changed := [*changed_files(run.files), *files_without_line(run.files)]:
        raise ValueError(f"{changed[0]}; a bundle holds a run as it was written")
    _refuse_private(run)
    files = {f"{RUN}/{name}": run.folder / name for name in _run_files(run)}
    if extras.report is not None:
        files |= {f"{REPORT}/{name}": extras.report / name for name in _report_files(run, extras.report, extras)}
    if extras.images is not None:
        split = run.split_below(f"{extras.images}")
        files |= {f"{IMAGES}/{entry.path}": split.root / entry.path for entry in split.catalogue().entries}
    with temporary_folder() as place:
        files |= _of_parts(place, run, extras, parts, [*files.values()])
        contents: dict[str, Path | bytes] = {**files, README: _readme(run, files).encode()}
        if (to / FILE).exists():
            archive.write(place / FILE, contents)
            if not filecmp.cmp(place / FILE, to / FILE, shallow=False):
                raise ValueError(f"{to / FILE} is there with other content; --out takes a new or empty folder")
        else:
            archive.write(to / FILE, contents)
    return [to / FILE]


def _refuse_private(run: FinishedRun) -> None:
    """Raise ValueError if the configuration, whose bytes the manifest fixes, names a place on somebody's machine."""
    shown = publishable(run.config)
    for name in PLACES:
        value = getattr(run.config, name)
        if value != getattr(shown, name):
            raise ValueError(
                f"{run.folder / names.CONFIG}: {name} is {value}, which shows where files are on a machine and is "
                f"hashed with the run; a bundle can hold a run whose training was given a name such as "
                f"{getattr(shown, name)}, relative to the folder that it was started in"
            )


def _run_files(run: FinishedRun) -> Iterator[str]:
    yield names.MANIFEST
    yield from run.files.manifest()
    kept = names.kept_epoch(run.metrics["setting"], 1).rpartition("/")[0]
    for file in sorted((run.folder / kept).glob("*")):
        if names.is_kept_epoch(name := f"{kept}/{file.name}", run.config.epochs):
            yield run.files.file(name).relative_to(run.folder).as_posix()


def _report_files(run: FinishedRun, report: Path, extras: Extras) -> Iterator[str]:
    if differences := report_differences(run.folder, report):
        raise ValueError(f"{report} is no report of {run.folder} as it is now: {differences[0]}")
    listed = list_report_files(report)
    photographs = run.config.data is not None
    if photographs and not extras.pixels and f"{figure_name(RANKING)}.svg" in listed:
        raise ValueError(
            f"{report} shows photographs; --pixels bundles them, and `report --no-photographs` writes a report without"
        )
    left_out = set(CHECK_IMAGES) if photographs and not extras.pixels else set()
    wanted = {*listed, *CHECK_IMAGES} - left_out
    yield from (name for name in wanted if (report / name).is_file())


def _of_parts(
    place: Path, run: FinishedRun, extras: Extras, parts: Sequence[tuple[str, Export]], before: Sequence[Path]
) -> dict[str, Path]:
    """Write other formats into a temporary folder; return their files, but no copies of those in `before`."""
    held = {file_sha256(file) for file in before} if parts else set()
    return {
        file.relative_to(place).as_posix(): file
        for folder, write in parts
        for file in write(run, place / folder, extras)
        if file_sha256(file) not in held
    }


def _readme(run: FinishedRun, contents: Collection[str]) -> str:
    """Return the text for whoever finds the bundle later; its lines with sha256 are as sha256sum writes them."""
    fingerprint, setting = run.fingerprint, run.metrics["setting"]
    version, commit = fingerprint["versions"].get("in4310repro", "unknown"), fingerprint["git"]["commit"]
    hashed = (names.MANIFEST, names.of_setting(setting, names.BEST_WEIGHTS))
    has_page, has_images = (
        f"{REPORT}/{check_page.PAGE}" in contents,
        any(each.startswith(f"{IMAGES}/") for each in contents),
    )
    drawn = "are not in here" if run.config.data else "are drawn by the package"
    lines = (
        "A run of the Python package in4310repro: networks that classify images, and the records of their training.",
        f"Made by version {version}, commit {commit or 'unknown'}; {fingerprint['numerics']} arithmetic, numeric class "
        f"{fingerprint['numeric_class']}.",
        "sha256 of its manifest, which has those of all its files, and of the selected weights:",
        *(f"{file_sha256(run.folder / name)}  {RUN}/{name}" for name in hashed),
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
