"""Entry point of `python -m in4310repro` and of the command `in4310repro`.

`main` prepares for signals, then runs the command line.
"""

import os

from in4310repro.system import signals


def main() -> None:
    """Run the command given on the command line, then exit with its exit code."""
    signals.take_over_process()
    from in4310repro import cli

    try:
        cli.main()
    except SystemExit as stop:
        if stop.code == signals.INTERRUPTED:
            # A normal exit would wait for threads, and would end with SIGINT if the interrupt came during an `eval`.
            os._exit(signals.INTERRUPTED)
        raise


if __name__ == "__main__":
    main()
