"""The experiment on shared split and warm start: its predictions, its cells, and the comparison of readings.

`cells` reads finished runs, `effects` their differences with intervals, `counts` and `precisions` say how probable the
printed numbers are under each reading, `page` writes reports/experiment.
"""
