"""The command line: each command reads paths and settings, calls a function, and prints what it wrote.

`application` lists the commands and turns errors into exit codes; `machine` checks this machine.
"""

from collections.abc import Sequence

from in4310repro.system import signals

__all__ = ["main"]


def main(words: Sequence[str] | None = None) -> None:
    """Run a command, and raise SystemExit with its exit code; see `application.run`.

    Args:
        words: the words of the command; None for those of the command line.
    """
    with signals.interrupts(at_once=True) as interrupted:
        # NumPy and more, after the signals are taken care of.
        from in4310repro.cli import application

        application.run(interrupted, words)
