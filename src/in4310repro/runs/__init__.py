"""A run: its configuration and protocol, the records of its folder, and a finished run as one immutable object.

`config` holds all that changes a run, `presets` the starting points, `deviations` the protocol, and `finished` opens a
finished run.
"""
