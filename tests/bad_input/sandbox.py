"""Run commands inside a folder that holds everything they may touch; record their output and changes."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from PIL import Image

from in4310repro import cli

WORK = 0.001  # seconds of processor time by which one that computes goes on meanwhile, on a machine however busy
HASHED = 1 << 20  # bytes; of larger files, size and time of change tell
PROGRAM = "in4310repro: "
SEED = 0
CHOSEN = "chosen"  # the setting of the smaller run


# What Python shows no user.
HIDDEN = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Time limits of a command in seconds, long enough for a busy machine."""

    work: float = 60.0  # of processor time
    idle: float = 300.0  # without processor time
    tick: float = 1.0  # between two looks


class HangError(BaseException):
    """Error raised if a command computes or waits longer than its limits."""


@dataclass(frozen=True)
class Outcome:
    """Outcome of a command: exit code (None after an exception or a time limit) and output."""

    code: int | None
    out: str
    err: str

    @property
    def sentences(self) -> list[str]:
        """Lines of standard error in which the program reports an error."""
        return [line for line in self.err.splitlines() if line.startswith(PROGRAM)]

    @property
    def stray(self) -> list[str]:
        """Lines of output that no user should see, such as tracebacks and warnings."""
        marks = ("Traceback (most recent call last)", "Warning:", "Exception ignored")
        return [line for line in (*self.err.splitlines(), *self.out.splitlines()) if any(m in line for m in marks)]


@contextlib.contextmanager
def time_limit(limits: Limits, clock: Callable[[], float] = time.monotonic) -> Iterator[list[float]]:
    """Raise HangError if the `with` block exceeds a limit, after appending the seconds used to the yielded list.

    A system without timers has no limit.
    """
    passed: list[float] = []
    if not hasattr(signal, "setitimer"):
        yield passed
        return

    begun = computed = time.process_time()
    at_work = clock()

    def look(_number: int, _frame: object) -> None:
        nonlocal computed, at_work
        now = time.process_time()
        if now - computed > WORK:
            computed, at_work = now, clock()
        waited = clock() - at_work
        if now - begun > limits.work or waited > limits.idle:
            passed.append(max(now - begun, waited))
            raise HangError

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, limits.tick, limits.tick)
    try:
        yield passed
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _place(folder: Path, words: Sequence[str], environment: Mapping[str, str | None]) -> Iterator[None]:
    """Set the working folder, the command line and the environment during a `with` block."""
    here, arguments, before = Path.cwd(), sys.argv, dict(os.environ)
    os.chdir(folder)
    sys.argv = ["in4310repro", *words]
    for name, value in environment.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        sys.argv = arguments
        os.chdir(here)


def call(
    words: Sequence[str],
    folder: Path,
    environment: Mapping[str, str | None] | None = None,
    limits: Limits | None = None,
    main: Callable[[], object] = cli.main,
) -> Outcome:
    """Run a command in a folder until it ends or exceeds a limit; `main` is the program's entry point."""
    out, err = io.StringIO(), io.StringIO()
    code: int | None = None
    passed: list[float] = []
    place = _place(folder, words, {"COLUMNS": "200"} | dict(environment or {}))
    with place, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("default")
        for hidden in HIDDEN:
            warnings.simplefilter("ignore", hidden)
        try:
            with time_limit(limits or Limits()) as passed:
                main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        except HangError:
            pass
        except BaseException:
            err.write(traceback.format_exc())
    if passed:
        # Whatever the program made of it.
        return Outcome(None, out.getvalue(), f"{err.getvalue()}no end after {passed[0]:g} s\n")
    return Outcome(code, out.getvalue(), err.getvalue())


def snapshot(root: Path) -> dict[str, tuple[object, ...]]:
    """Return the type and content of each file and folder below the root, by path, without following links."""
    found: dict[str, tuple[object, ...]] = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder) / name
            status = path.lstat()
            key = os.fsencode(path.relative_to(root).as_posix()).decode(errors="backslashreplace")
            if path.is_symlink():
                found[key] = ("link", str(path.readlink()))
            elif path.is_file() and status.st_size <= HASHED:
                found[key] = ("file", hashlib.sha256(path.read_bytes()).hexdigest())
            else:
                found[key] = (status.st_mode, status.st_size if path.is_file() else 0)
                found[key] += (status.st_mtime_ns,) if path.is_file() else ()
    return found


def changes(before: Mapping[str, tuple[object, ...]], after: Mapping[str, tuple[object, ...]]) -> list[str]:
    """Return the paths that were added, removed or changed."""
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))


def link_or_copy(source: str, target: str) -> None:
    """Hard-link a large file, or copy it if it is small or the file system has no hard links."""
    try:
        if Path(source).stat().st_size < HASHED:
            raise OSError(errno.EXDEV, "small")
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def write_json(folder: Path, name: str, value: Any) -> None:
    """Replace a JSON file by a new file, so that hard links to the old one keep their content."""
    (folder / name).unlink()
    (folder / name).write_text(json.dumps(value, indent=1) + "\n")


def seal(folder: Path, *names: str) -> None:
    """Update the hashes of the named files (default: all) in a run's manifest, as a forger would."""
    recorded: dict[str, str] = json.loads((folder / "manifest.json").read_text())
    manifest = {name: sha256 for name, sha256 in recorded.items() if (folder / name).exists()}
    for name in names or manifest:
        if (folder / name).is_file():
            manifest[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    write_json(folder, "manifest.json", manifest)


def make_one_setting(finished_run: Path, folder: Path) -> Path:
    """Copy a run with only its selected setting (one optimizer's training), renamed `CHOSEN`."""
    metrics = json.loads((finished_run / "metrics.json").read_text())
    config = json.loads((finished_run / "config.json").read_text())
    manifest = json.loads((finished_run / "manifest.json").read_text())
    selected = metrics["setting"]
    names = [setting["name"] for setting in config["settings"]]
    ignored = shutil.ignore_patterns(*(name for name in names if name != selected))
    shutil.copytree(finished_run, folder, copy_function=link_or_copy, ignore=ignored)
    (folder / selected).rename(folder / CHOSEN)
    kept = [setting | {"name": CHOSEN} for setting in config["settings"] if setting["name"] == selected]
    renamed = {name.replace(f"{selected}/", f"{CHOSEN}/"): sha256 for name, sha256 in manifest.items()}
    write_json(folder, "config.json", config | {"settings": kept})
    write_json(folder, "metrics.json", metrics | {"setting": CHOSEN})
    features = json.loads((finished_run / "features.json").read_text())
    write_json(folder, "features.json", features | {"network": features["network"].replace(selected, CHOSEN)})
    write_json(folder, "manifest.json", dict(sorted(renamed.items())))
    seal(folder, "config.json", "metrics.json", "features.json")
    return folder


class Sandbox:
    """A folder that contains everything a command may touch: its working folder `work`, a home, and other files.

    Methods add what a row of the table needs; each returns the path that it made.
    """

    def __init__(self, root: Path, finished_run: Path, one_setting: Path) -> None:
        self.root, self.work = root, root / "work"
        self._finished_run, self._one_setting = finished_run, one_setting
        self.environment: dict[str, str | None] = {
            "HOME": str(root / "home"),
            "TORCH_HOME": str(root / "home/torch"),
            "TMPDIR": str(root / "temporary"),
            # Else whoever loads it first writes a list of fonts into the home.
            "MPLCONFIGDIR": matplotlib.get_configdir(),
        }
        self.undo = contextlib.ExitStack()
        self.limits = Limits()
        self.main: Callable[[], object] = cli.main
        for name in ("work", "home", "temporary", "victim"):
            (root / name).mkdir(parents=True)
        (root / "victim/index.html").write_text("not ours")
        (root / "victim/run.json").write_text('{"figures": ["figure01.png"]}')
        for name in ("figure01.png", "secret.png"):
            Image.new("RGB", (8, 8), "red").save(root / "victim" / name)

    def call(self, words: Sequence[str]) -> Outcome:
        """Run a command in the working folder; temporary files also go into the sandbox."""
        before, tempfile.tempdir = tempfile.tempdir, str(self.root / "temporary")
        try:
            with self.undo:
                return call(words, self.work, self.environment, self.limits, self.main)
        finally:
            tempfile.tempdir = before

    def run(self, path: str = "runs/tiny") -> Path:
        """Copy a run with one setting (one optimizer's training) to `path`.

        Its weights are hard links: replace them, never edit them in place.
        """
        return Path(shutil.copytree(self._one_setting, self.work / path, copy_function=link_or_copy))

    def whole_run(self, path: str = "runs/tiny") -> Path:
        """Copy the tiny run with all its settings (one per optimizer) to `path`.

        Its weights are hard links: replace them, never edit them in place.
        """
        return Path(shutil.copytree(self._finished_run, self.work / path, copy_function=link_or_copy))

    def photos(self, path: str = "photos", classes: Sequence[str] = ("cat", "dog"), images: int = 9) -> Path:
        """Make class folders with small pictures, all of them different."""
        root = self.work / path
        generator = np.random.default_rng(SEED)
        for name in classes:
            (root / name).mkdir(parents=True, exist_ok=True)
            for number in range(images):
                pixels = generator.integers(0, 255, (32, 32, 3), np.uint8)
                Image.fromarray(pixels).save(root / name / f"{number}.png")
        return root

    def write(self, path: str, content: str | bytes) -> Path:
        """Write a file in the working folder, after deleting an old one, which may have other hard links."""
        file = self.work / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    def edit_json(self, path: str, change: Callable[[Any], Any]) -> Path:
        """Apply `change` to a JSON file's value; `change` edits the value in place or returns a new one."""
        value = json.loads((self.work / path).read_text())
        returned = change(value)
        return self.write(path, json.dumps(value if returned is None else returned, indent=1))

    def replace(self, path: str, old: str, new: str) -> Path:
        """Replace the first occurrence of a text in a file."""
        text = (self.work / path).read_text()
        assert old in text, f"{path} has no {old!r}"
        return self.write(path, text.replace(old, new, 1))

    def patch(self, target: object, name: str, value: object) -> None:
        """Replace an attribute until the command has ended."""
        before = getattr(target, name)
        setattr(target, name, value)
        self.undo.callback(setattr, target, name, before)
