"""The command line: each command names paths and settings, calls one function, and prints what it wrote."""

from in4310repro import signals

__all__ = ["main"]


def main() -> None:
    """Runs a command; raises SystemExit with its exit code, whatever happens (see `application.run`)."""
    with signals.keyboard_interrupts() as interrupted:
        # NumPy and more, after the signals are taken care of.
        from in4310repro.cli import application

        application.run(interrupted)
