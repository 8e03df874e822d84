"""A model of step time on several machines, from a single process's steps and from messages timed by themselves.

    step = work of the largest share + small messages + gradient messages that the backward pass does not hide

Formulas and assumptions in docs/processes.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from in4310repro.arithmetic import tree
from in4310repro.arithmetic.shares import BUCKET

FLOAT, DOUBLE = 4, 8  # bytes of a value of gradients, and of small messages


@dataclass(frozen=True, kw_only=True)
class Work:
    """Measured work of a training step of a network in one process.

    The images of a batch are divided into "leaves" of 8 images, whose gradients are added in a fixed tree.
    """

    fixed: float  # seconds of a step without images
    leaf: float  # seconds of a leaf of 8 images
    begun: Sequence[tuple[int, float]]  # see RankRow
    widths: Sequence[int]  # values of a row of each small message

    def seconds(self, leaves: int) -> float:
        """Return the predicted seconds of a step with this many leaves (groups of 8 images), at least one."""
        return self.fixed + self.leaf * max(1, leaves)


@dataclass(frozen=True, kw_only=True)
class Link:
    """Measured speed of messages between processes."""

    latency: float  # seconds of a small message between two, without the wire
    peer: float  # seconds that each further process adds to the latency
    wire: float  # seconds from one machine to another
    bandwidth: float  # bytes per second that a process sends

    def small(self, sent: int, size: int) -> float:
        """Predict the seconds of a small exchange in which each of `size` processes sends `sent` bytes."""
        return self.latency + self.peer * (size - 2) + self.wire + sent / self.bandwidth

    def large(self, sent: int, turns: int = 1) -> float:
        """Return the predicted seconds of a large message that is passed on `turns` times."""
        return self.wire * turns + sent / self.bandwidth


@dataclass(frozen=True, kw_only=True)
class StepTime:
    """Predicted seconds of the parts of a step by several processes."""

    compute: float
    small: float
    gradients: float  # not hidden by the backward pass

    @property
    def total(self) -> float:
        """Predicted seconds of the whole step."""
        return self.compute + self.small + self.gradients


def fit_work(alone: Mapping[str, float], begun: Sequence[tuple[int, float]], widths: Sequence[int]) -> Work:
    """Return the work of one process alone: step time fitted as a line over the number of leaves (8 images each)."""
    leaves = [len(tree.leaves(int(images))) for images in alone]
    leaf, fixed = np.polynomial.Polynomial.fit(leaves, [*alone.values()], 1).convert().coef[::-1]
    return Work(fixed=float(fixed), leaf=float(leaf), begun=begun, widths=widths)


def message_widths(model: nn.Module) -> list[int]:
    """Return the number of values that each small message of a step sends per node of the summation tree.

    A batch norm sends two values per channel, forward and backward; a bias two values per channel; the loss one.
    """
    modules = [*model.modules()]
    norms = [2 * module.num_features for module in modules if isinstance(module, nn.BatchNorm2d)]
    layers = [module for module in modules if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None]
    return [*norms, *norms, *(2 * len(layer.weight) for layer in layers), 1]


def step_time(work: Work, images: int, size: int, link: Link, *, own_cores: bool = True, cores: int = 1) -> StepTime:
    """Return the predicted time of a training step of a batch on `size` processes.

    Args:
        work: the measured work of the network.
        images: number of images in the whole batch.
        size: number of processes.
        link: speed of messages between the processes; a single process sends none.
        own_cores: True if each process has its own cores. Otherwise messages take time from the computation,
            which then hides none of it.
        cores: number of cores that the processes share if they have none of their own; each computes on one.
    """
    shares = [tree.share(images, rank, size) for rank in range(size)]
    compute = work.seconds(max(map(len, shares)))
    if not own_cores:
        compute *= max(1.0, size / cores)
    if size == 1:
        return StepTime(compute=compute, small=0.0, gradients=0.0)
    nodes = max(len(tree.nodes(share, tree.leaves(images))) for share in shares)
    small = sum(link.small(sent, size) for sent in small_bytes(work.widths, nodes, size))
    buckets = [
        # The sums are passed along a ring.
        (moment * compute, link.large(there), link.large(back, size - 1))
        for moment, there, back in _make_buckets(work.begun, nodes, size)
    ]
    gradients = _exposed_seconds(buckets) if own_cores else sum(there + back for _, there, back in buckets)
    return StepTime(compute=compute, small=small, gradients=gradients)


def small_bytes(widths: Sequence[int], nodes: int, size: int) -> list[int]:
    """Return the bytes of each small message of a step, for the process that sends the most."""
    return [nodes * width * DOUBLE * (size - 1) for width in widths]


def gradient_bytes(values: Sequence[int], nodes: int, size: int) -> int:
    """Return the bytes of gradients that a process sends in a step; `values` are the weights' sizes, last first."""
    begun = [(each, 0.0) for each in (*values, 0)]
    return sum(there + back for _, there, back in _make_buckets(begun, nodes, size))


def _make_buckets(begun: Sequence[tuple[int, float]], nodes: int, size: int) -> Iterator[tuple[float, int, int]]:
    """Yield for each bucket of gradients the time of sending, and the bytes of its partial and of its final sums.

    A bucket is sent before the first weight that does not fit, and the last one after the backward pass.
    """
    used = capacity = 0
    for values, moment in begun:
        if used and (not values or used + values > capacity):
            piece = -(-used // size) * FLOAT * (size - 1)
            yield moment, nodes * piece, piece
            used = 0
        capacity = capacity if used else max(BUCKET, values)
        used += values


def _exposed_seconds(buckets: Sequence[tuple[float, float, float]]) -> float:
    """Return by how many seconds gradient messages prolong the backward pass that runs while they are sent.

    Args:
        buckets: for each bucket, the time at which it is sent in a pass without delays, and the seconds for sending its
            nodes and its sums; the last one is sent at the end of the pass.
    """
    delay = free = arrived = sums = 0.0  # free: the time at which all messages sent so far have arrived
    for moment, there, back in buckets:
        now = moment + delay
        here = max(now, free) + there
        # The sums of the previous bucket follow once its nodes have arrived; the pass waits for these.
        delay = max(now, arrived) - moment
        free, arrived, sums = here + sums, here, back
    return free + sums - buckets[-1][0]
