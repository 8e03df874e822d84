"""A run: its configuration and protocol, the records of its folder, and a finished run as one immutable object.

`config` is everything that changes a run, `presets` where to start from, `deviations` the protocol, `finished` the run.
"""
