"""The command line: each command reads paths and settings, calls a function, and prints what it wrote.

`application` has the list of commands and turns errors into exit codes; `machine` checks this machine.
"""

from in4310repro.system import signals

__all__ = ["main"]


def main() -> None:
    """Run the command on the command line, and raise SystemExit with its exit code; see `application.run`."""
    with signals.keyboard_interrupts() as interrupted:
        # NumPy and more, after the signals are taken care of.
        from in4310repro.cli import application

        application.run(interrupted)
