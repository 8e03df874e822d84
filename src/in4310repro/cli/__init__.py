"""The command line: each command reads paths and settings, calls one function, and prints what it wrote."""

from in4310repro import signals

__all__ = ["main"]


def main() -> None:
    """Run a command; raise SystemExit with its exit code in every case (see `application.run`)."""
    with signals.keyboard_interrupts() as interrupted:
        # NumPy and more, after the signals are taken care of.
        from in4310repro.cli import application

        application.run(interrupted)
