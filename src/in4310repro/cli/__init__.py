"""The command line: each command reads paths and settings, calls a function, and prints what it wrote."""

from in4310repro import signals

__all__ = ["main"]


def main() -> None:
    """Run a command, then raise SystemExit with its exit code; see `application.run`."""
    with signals.keyboard_interrupts() as interrupted:
        # NumPy and more, after the signals are taken care of.
        from in4310repro.cli import application

        application.run(interrupted)
