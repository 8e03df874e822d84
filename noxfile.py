"""One task per session. All share the environment that nox itself runs in: torch is installed once."""

import json
import re
import shlex
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import nox

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "none"
nox.options.error_on_missing_interpreters = True


# The run that the session `train` of this call made, "" if it made none. nox gives the options of
# `nox -s train report -- OPTIONS` to both sessions; `report` takes the run instead of them.
trained: list[str] = []
QUIET = ("--quiet", "-q")


def _run_of(printed: str) -> str:
    """Return the folder of the run that `train` says that it wrote, "" if it wrote none."""
    if printed.startswith("{"):
        document = json.loads(printed)
        return str(document["run"]) if "training_sha256" in document else ""
    line = re.match("wrote (.+): .+; on ", printed)
    return line[1] if line else ""


def _python(session: nox.Session, *arguments: str, options: bool = True, **how: Any) -> Any:
    # No time limits: after Ctrl-C a training finishes its step and writes a checkpoint.
    words = (sys.executable, *arguments, *(session.posargs if options else ()))
    return session.run(*words, interrupt_timeout=None, terminate_timeout=None, **how)


@nox.session(default=False)
def train(session: nox.Session) -> None:
    """Train three settings and score the selected one: `nox -s train -- --preset demo`.

    Options are those of `in4310repro train`.
    """
    # Before it runs: a training that fails leaves no older run to report.
    trained[:] = [""]
    quiet = any(each in QUIET for each in session.posargs)
    given = [*(each for each in session.posargs if each not in QUIET), *(["--json"] if quiet else [])]
    # Progress, on standard error, is shown as it comes.
    words = ("-m", "in4310repro", "train", *given)
    printed: str = _python(session, *words, options=False, silent=True, stderr=None) or ""
    if not quiet:
        sys.stdout.write(printed)
    trained[:] = [_run_of(printed)]


@nox.session(default=False)
def report(session: nox.Session) -> None:
    """Write the report of the run that `train` has just made, or of another one: `nox -s report -- RUN`."""
    if not trained:
        _python(session, "-m", "in4310repro", "report")
        return
    (run,) = trained
    if not run:
        session.error("the session train made no run to report")
    from in4310repro.models.sources import open_network

    model = json.loads((Path(run) / "config.json").read_text(encoding="utf-8"))["model"]
    given = [each for each in (*QUIET, "--json") if each in session.posargs]
    words = ("report", run, *shlex.split(open_network(model).option), *given)
    _python(session, "-m", "in4310repro", *words, options=False)


# Modules whose shapes and types slow tests check at run time; `data.drawing` would take three times as long.
CHECKED = (
    *(f"data.{name}" for name in ("check", "images", "near_duplicates", "reading", "references", "scenes")),
    *(f"features.{name}" for name in ("activations", "blocks", "covariance", "kernel", "result", "spectra", "stream")),
    *("features.outputs", "evaluation.doubts", "metrics"),
)


@nox.session
def tests(session: nox.Session) -> None:
    """Oracles, golden files, determinism; what takes minutes by itself with `nox -s tests -- -m slow`."""
    packages = ",".join((*(f"in4310repro.{name}" for name in CHECKED), "beartype.beartype"))
    checks = (f"--jaxtyping-packages={packages}",) if "slow" in session.posargs else ()
    _python(session, "-m", "pytest", "-n", "2", "--dist", "worksteal", *checks)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, types, the direction of imports, and the lines of code that each room may have."""
    folder = Path(sys.executable).parent
    for words in (("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",), ("lint-imports",)):
        session.run(str(folder / words[0]), *words[1:])
    session.run(sys.executable, "-m", "tests.ceilings")


@nox.session(default=False, venv_backend="venv")
def minimums(session: nox.Session) -> None:
    """Run the tests with the lowest version of each dependency, in an environment of their own (7 GB on Linux)."""
    dependencies = nox.project.load_toml("pyproject.toml")["project"]["dependencies"]
    lowest = Path(session.create_tmp()) / "lowest.txt"
    lowest.write_text("".join(f"{each.replace('>=', '==')}\n" for each in dependencies), encoding="utf-8")
    session.install("-c", str(lowest), "-e", ".[dev]")
    # Newer libraries below them have their own opinion of old ones.
    quiet = ("-W", "ignore::DeprecationWarning")
    session.run("python", "-m", "pytest", "-n", "2", "--dist", "worksteal", *quiet, *session.posargs)


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """Build these pages in site/, notebooks included, and see that they load nothing from elsewhere: `.[docs]`."""
    session.env["NO_MKDOCS_2_WARNING"] = "1"
    session.run(sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", "site", *session.posargs)
    session.run(sys.executable, "-m", "tests.docs.site", "site")


@nox.session(default=False)
def golden(session: nox.Session) -> None:
    """Write one golden file again: `nox -s golden -- CASE --reason "why"`.

    `environments` in place of CASE writes all that only their class made stale.
    """
    _python(session, "-m", "tests.golden_cases")


@nox.session(default=False)
def soak(session: nox.Session) -> None:
    """Kill 60 trainings at random moments and in the middle of writes, resume them, compare every bit.

    Then kill one of 4 processes and go on with 1, 3 and 2 ([20 rounds](processes.md#where-it-was-compared)); run the
    tests that kill, stop and interrupt what torchrun starts; and slow tests again with another optimizer, compiler,
    seed or part of a table.
    """
    _python(session, "-m", "benchmarks.soak")
    _python(session, "-m", "benchmarks.elastic")
    session.run(sys.executable, "-m", "pytest", "-n", "2", "-m", "soak")


@nox.session(default=False)
def advisories(session: nox.Session) -> None:
    """Ask PyPI for known vulnerabilities of everything that is installed here: `pip-audit --strict`."""
    # Pinned and by public version: --strict refuses a project in editable mode and torch's versions such as 2.13.0+cpu.
    versions = {each.name: each.version.partition("+")[0] for each in metadata.distributions()}
    pinned = Path(session.create_tmp()) / "installed.txt"
    pinned.write_text("".join(f"{n}=={v}\n" for n, v in sorted(versions.items()) if n != "in4310repro"))
    _python(session, "-m", "pip_audit", "--strict", "--no-deps", "--disable-pip", "--requirement", str(pinned))


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Time kernels, then feature statistics with their errors, beside installed peers: `.[bench]`.

    Then four networks in portable arithmetic beside torch's own, onnxruntime and OpenVINO, training by several
    processes beside one, and traced steps beside bare ones. Options are those of `python -m benchmarks`, which writes
    reports/bench; with `--only` it runs alone.
    """
    columns = ("--benchmark-columns=median,iqr,ops", "--benchmark-sort=mean", "--benchmark-warmup=on")
    # Without the run-time checks of types, which would be timed too.
    if not any(option.startswith("--only") for option in session.posargs):
        session.run(sys.executable, "-m", "pytest", "benchmarks/kernels.py", "-q", "-o", "addopts=", *columns)
    _python(session, "-m", "benchmarks")


@nox.session(default=False)
def ablation(session: nox.Session) -> None:
    """Turn on one deviation from the assignment at a time, and print what each changes."""
    _python(session, "-m", "studies.commands", "ablation")


@nox.session(default=False)
def portability(session: nox.Session) -> None:
    """Run every stage here with 1 to 16 threads, and emulated Intel, AMD and ARM processors with one; compare bits.

    It writes [a table](bits.md#where-bits-were-compared).
    """
    _python(session, "-m", "benchmarks.portability")


@nox.session(default=False)
def evidence(session: nox.Session) -> None:
    """Measure again what a table of the pages says: `nox -s evidence -- NAME`; without a name, list the names."""
    _python(session, "-m", "tests.sessions.evidence")
