"""Traces of trainings: what every step read, computed and changed, and the first thing in which two trainings differ.

`Trace` records a training with PyTorch, `compare` finds where two differ, `explain` tries what moves bits.
"""

from in4310repro.trace.causes import assert_same_training, explain
from in4310repro.trace.comparison import Comparison, compare
from in4310repro.trace.recorder import Trace
from in4310repro.trace.records import Event, Step, TraceFile, read_trace
from in4310repro.trace.values import compare_values, read_values

__all__ = [
    "Comparison",
    "Event",
    "Step",
    "Trace",
    "TraceFile",
    "assert_same_training",
    "compare",
    "compare_values",
    "explain",
    "read_trace",
    "read_values",
]
