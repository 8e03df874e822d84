"""`python -m in4310repro` is the command `in4310repro`."""

from in4310repro.cli import main

main()
