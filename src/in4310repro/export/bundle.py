"""A deposit: one zip file with a run, its report and what other formats say of it, for `verify` on any machine."""

import in4310repro
from in4310repro.export import facts, in_toto, ro_crate
from in4310repro.export.table import Contents, Extras
from in4310repro.report import check_page, page, score_exhibits
from in4310repro.runs import names
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.files import file_sha256
from in4310repro.verification.bundle_checks import IMAGES, README, REPORT, RUN, STATEMENT

CHECK_IMAGES = {check_page.IMAGES, check_page.PIXELS}  # beside the page, which reads them


def contents(run: FinishedRun, extras: Extras) -> Contents:
    """Return the files of a bundle; equal runs and extras give equal ones.

    They are the files of the run's manifest, the kept epochs of the selected setting, which `verify --replay` needs,
    a README, and what other formats say of the run; what those copy is in the bundle already. Checkpoints and logs are
    left out, and photographs unless extras ask for them.

    Args:
        run: a finished run as it was written.
        extras: the report, the folder of the images if the bundle shall hold them, and whether a report with
            photographs or decoded images may be in it.

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
    kept = f"{run.metrics['setting']}/{names.KEPT_EPOCHS}"
    epochs = (f"{kept}/{file.name}" for file in sorted((run.folder / kept).glob("*")))
    of_run = [names.MANIFEST, *run.files.manifest(), *(n for n in epochs if names.is_kept_epoch(n, run.config.epochs))]
    files: Contents = {f"{RUN}/{name}": run.files.file(name) for name in of_run}
    if (report := extras.report) is not None:
        listed, hidden = page.list_report_files(report), run.config.data is not None and not extras.pixels
        if hidden and score_exhibits.WITH_PHOTOGRAPHS in listed:
            raise ValueError(
                f"{report} shows photographs; --pixels bundles them, and `report --no-photographs` writes a report "
                "without"
            )
        wanted = listed - CHECK_IMAGES if hidden else listed | CHECK_IMAGES
        files |= {f"{REPORT}/{name}": report / name for name in wanted if (report / name).is_file()}
    if extras.images is not None:
        split = run.split_below(f"{extras.images}")
        files |= {f"{IMAGES}/{entry.path}": split.root / entry.path for entry in split.catalogue().entries}
    files |= {f"{STATEMENT}/{name}": each for name, each in in_toto.contents(run, extras).items()}
    # An RO-Crate says when it is published.
    crate = ro_crate.contents(run, extras).items() if extras.date else ()
    files |= {name: each for name, each in crate if isinstance(each, bytes)}
    fingerprint, weights = run.fingerprint, run.best_weights
    version, commit = fingerprint["versions"].get("in4310repro", "unknown"), fingerprint["git"]["commit"]
    hashes = {names.MANIFEST: file_sha256(run.folder / names.MANIFEST), weights: run.files.manifest()[weights]}
    drawn = "are not in here" if run.config.data else "are drawn by the package"
    # For whoever finds the bundle later; its lines with sha256 are as sha256sum writes them.
    readme = (
        "A run of the Python package in4310repro: networks that classify images, and the records of their training.",
        f"Made by version {version}, commit {commit or 'unknown'}; {fingerprint['numerics']} arithmetic, numeric class "
        f"{fingerprint['numeric_class']}.",
        "sha256 of its manifest, which has those of all its files, and of the selected weights:",
        *(f"{sha256}  {RUN}/{name}" for name, sha256 in hashes.items()),
        f"To compute its numbers again, install version {in4310repro.__version__}, which wrote this file, and run: "
        "in4310repro verify BUNDLE.zip",
        f"To check them in a browser, without installation, open {REPORT}/{check_page.PAGE} and give it {RUN}."
        if f"{REPORT}/{check_page.PAGE}" in files
        else "No page that checks them in a browser is in here; in4310repro report writes one.",
        f"The images that {RUN}/{names.SPLIT} names by sha256 {f'are below {IMAGES}' if extras.images else drawn}.",
        "In the source of the package, docs/runs.md says what each file holds, docs/verification.md what is checked,",
        "and docs/arithmetic.md has every formula of portable arithmetic, so that it can be written again.",
        "",
    )
    return files | {README: "\n".join(readme).encode()}
