"""One task per session. All share the environment that nox itself runs in: torch is installed once."""

import json
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import nox

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "none"
nox.options.error_on_missing_interpreters = True


# Where the session `train` of this call leaves the command that reports its run. nox gives the options of
# `nox -s train report -- OPTIONS` to both sessions; `report` takes the run instead of them.
report_of: dict[str, Path] = {}


def _python(session: nox.Session, *arguments: str, options: bool = True) -> None:
    # No time limits: after Ctrl-C a training finishes its step and writes a checkpoint.
    words = (sys.executable, *arguments, *(session.posargs if options else ()))
    session.run(*words, interrupt_timeout=None, terminate_timeout=None)


@nox.session(default=False)
def train(session: nox.Session) -> None:
    """Train three settings and score the selected one: nox -s train -- --preset demo."""
    report_of["train"] = Path(tempfile.mkdtemp(prefix="in4310repro-")) / "report.json"
    _python(session, "-m", "in4310repro", "train", "--next-command", str(report_of["train"]))


@nox.session(default=False)
def report(session: nox.Session) -> None:
    """Write the report of the run that `train` has just made, or of another one: nox -s report -- RUN."""
    if not (file := report_of.get("train")):
        _python(session, "-m", "in4310repro", "report")
    elif not file.exists():
        session.error("the session train made no run to report")
    else:
        _python(session, "-m", "in4310repro", *json.loads(file.read_text(encoding="utf-8")), options=False)


@nox.session
def tests(session: nox.Session) -> None:
    """Oracles, golden files, determinism; what takes minutes by itself with: nox -s tests -- -m slow."""
    _python(session, "-m", "pytest", "-n", "2", "--dist", "worksteal")


@nox.session
def lint(session: nox.Session) -> None:
    """Style, types, and the direction of imports."""
    folder = Path(sys.executable).parent
    for words in (("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",), ("lint-imports",)):
        session.run(str(folder / words[0]), *words[1:])


@nox.session(default=False, venv_backend="venv")
def minimums(session: nox.Session) -> None:
    """Run the tests with the lowest version of each dependency, in an environment of its own (7 GB on Linux)."""
    dependencies = nox.project.load_toml("pyproject.toml")["project"]["dependencies"]
    lowest = Path(session.create_tmp()) / "lowest.txt"
    lowest.write_text("".join(f"{each.replace('>=', '==')}\n" for each in dependencies), encoding="utf-8")
    session.install("-c", str(lowest), "-e", ".[dev]")
    # Newer libraries below them have their own opinion of old ones.
    quiet = ("-W", "ignore::DeprecationWarning")
    session.run("python", "-m", "pytest", "-n", "2", "--dist", "worksteal", *quiet, *session.posargs)


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """Build the pages in site/, notebooks included, and see that they load nothing from elsewhere: '.[docs]'."""
    session.env["NO_MKDOCS_2_WARNING"] = "1"
    session.run(sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", "site", *session.posargs)
    session.run(sys.executable, "-m", "tests.docs.site", "site")


@nox.session(default=False)
def golden(session: nox.Session) -> None:
    """Write one golden file again, or with `environments` the class of all: nox -s golden -- CASE --reason "why"."""
    _python(session, "-m", "tests.golden_cases")


@nox.session(default=False)
def soak(session: nox.Session) -> None:
    """Kill 60 trainings, and processes of 20 shared ones, resume them, compare bits; write docs/processes.md."""
    _python(session, "-m", "tests.sessions.soak")
    _python(session, "-m", "tests.sessions.elastic")
    session.run(sys.executable, "-m", "pytest", "-n", "2", "-m", "soak")


@nox.session(default=False)
def memory(session: nox.Session) -> None:
    """Memory of five commands at 1,000 to 64,000 images; writes docs/memory.json and its figure (Linux, minutes)."""
    _python(session, "-m", "tests.sessions.memory")


@nox.session(default=False)
def sanitizers(session: nox.Session) -> None:
    """Run the tests of kernels, checkpoints and replay on kernels that sanitizers watch (g++ on Linux, minutes)."""
    _python(session, "-m", "tests.sessions.sanitizers")


@nox.session(default=False)
def fuzz(session: nox.Session) -> None:
    """Damage 2,000 run folders, TOML files, splits and printed results; write the counts in docs/bad-input.md."""
    _python(session, "-m", "tests.sessions.fuzz")


@nox.session(default=False)
def forgeries(session: nox.Session) -> None:
    """Forge a run in more than a hundred ways and verify each; write the table in docs/forgeries.md (minutes)."""
    _python(session, "-m", "tests.forgeries.table")


@nox.session(default=False)
def advisories(session: nox.Session) -> None:
    """Ask PyPI for known vulnerabilities of everything that is installed beside this project (pip-audit --strict)."""
    # Pinned and by public version: --strict refuses a project in editable mode and torch's versions such as 2.13.0+cpu.
    versions = {each.name: each.version.partition("+")[0] for each in metadata.distributions()}
    pinned = Path(session.create_tmp()) / "installed.txt"
    pinned.write_text("".join(f"{n}=={v}\n" for n, v in sorted(versions.items()) if n != "in4310repro"))
    _python(session, "-m", "pip_audit", "--strict", "--no-deps", "--disable-pip", "--requirement", str(pinned))


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Kernels, then whole pipelines with the error beside each, against installed peers: pip install -e '.[bench]'."""
    columns = ("--benchmark-columns=median,iqr,ops", "--benchmark-sort=mean", "--benchmark-warmup=on")
    # Without the run-time checks of types, which would be timed too.
    session.run(sys.executable, "-m", "pytest", "tests/sessions/kernels.py", "-q", "-o", "addopts=", *columns)
    _python(session, "-m", "benchmarks")


@nox.session(default=False)
def zoo(session: nox.Session) -> None:
    """Measure all leaves of 59 models of torchvision and timm beside NumPy (minutes): pip install -e '.[bench]'."""
    _python(session, "-m", "tests.sessions.zoo")


@nox.session(default=False)
def ablation(session: nox.Session) -> None:
    """Turn on one deviation from the assignment at a time and print what each changes."""
    _python(session, "-m", "in4310repro", "ablation")


@nox.session(name="audit-validation", default=False)
def audit_validation(session: nox.Session) -> None:
    """Audit 2,000 consistent reports and as many with planted errors; write docs/audit-validation.md (minutes)."""
    _python(session, "-m", "tests.audit.validation")


@nox.session(default=False)
def planted(session: nox.Session) -> None:
    """Plant wrong labels and copies in drawn scenes and see what data check finds; writes docs/doubts.md (minutes)."""
    _python(session, "-m", "tests.sessions.planted")


@nox.session(default=False)
def tolerances(session: nox.Session) -> None:
    """Measure how far the demo's numbers move between numeric classes (half an hour), for the weaker tiers."""
    _python(session, "-m", "tests.sessions.tolerances")


@nox.session(default=False)
def portability(session: nox.Session) -> None:
    """Run every stage on emulated Intel and AMD processors and compare the bits."""
    _python(session, "-m", "tests.sessions.portability")


@nox.session(default=False)
def mutants(session: nox.Session) -> None:
    """Change one thing at a time and see whether tests notice (half an hour): nox -s mutants -- metrics.py features."""
    _python(session, "-m", "tests.sessions.mutants")
