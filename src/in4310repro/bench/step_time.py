"""How long a step takes on several machines: a model, from what one process and messages by themselves take.

    step = work of the largest share + small messages + what the backward pass does not hide of the gradients

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
    """What a step of a network takes a process alone."""

    fixed: float  # seconds of a step, however few its images are
    leaf: float  # seconds of a leaf of 8 images
    begun: Sequence[tuple[int, float]]  # see RankRow
    widths: Sequence[int]  # values of a row of each small message

    def seconds(self, leaves: int) -> float:
        """Of a step of so many leaves; a process that has none computes an image, which is counted as a leaf."""
        return self.fixed + self.leaf * max(1, leaves)


@dataclass(frozen=True, kw_only=True)
class Link:
    """How processes reach each other."""

    latency: float  # seconds of a small message between two, without the wire
    peer: float  # seconds that each further process adds to it
    wire: float  # seconds from one to another
    bandwidth: float  # bytes per second that a process sends

    def small(self, sent: int, size: int) -> float:
        """Seconds of a small message, of which each of so many processes sends so many bytes."""
        return self.latency + self.peer * (size - 2) + self.wire + sent / self.bandwidth

    def large(self, sent: int, turns: int = 1) -> float:
        """Seconds of a large one, which goes round in so many turns."""
        return self.wire * turns + sent / self.bandwidth


@dataclass(frozen=True, kw_only=True)
class StepTime:
    """Seconds of a step of several processes."""

    compute: float
    small: float
    gradients: float  # that nothing hides

    @property
    def total(self) -> float:
        """Of the whole step."""
        return self.compute + self.small + self.gradients


def work_of(alone: Mapping[str, float], begun: Sequence[tuple[int, float]], widths: Sequence[int]) -> Work:
    """The line through the seconds of a process alone, by the images of its batch."""
    leaves = [len(tree.leaves(int(images))) for images in alone]
    leaf, fixed = np.polynomial.Polynomial.fit(leaves, [*alone.values()], 1).convert().coef[::-1]
    return Work(fixed=float(fixed), leaf=float(leaf), begun=begun, widths=widths)


def widths_of(model: nn.Module) -> list[int]:
    """Values of a row of each small message of a step.

    Two of each channel of a batch norm, forward and backward, two of each bias, and the loss.
    """
    modules = [*model.modules()]
    norms = [2 * module.num_features for module in modules if isinstance(module, nn.BatchNorm2d)]
    layers = [module for module in modules if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None]
    return [*norms, *norms, *(2 * len(layer.weight) for layer in layers), 1]


def step_time(work: Work, images: int, size: int, link: Link, *, apart: bool = True, cores: int = 1) -> StepTime:
    """A step of a batch on so many processes.

    Args:
        work: of the network.
        images: of the whole batch.
        size: processes.
        link: between them; nothing is sent by one alone.
        apart: whether each process has its cores for itself; else the messages are work for those that compute, which
            then hide nothing of them.
        cores: where they are not apart, those that the processes share, which compute on one each.
    """
    shares = [tree.share(images, rank, size) for rank in range(size)]
    compute = work.seconds(max(map(len, shares)))
    if not apart:
        compute *= max(1.0, size / cores)
    if size == 1:
        return StepTime(compute=compute, small=0.0, gradients=0.0)
    nodes = max(len(tree.nodes(share, tree.leaves(images))) for share in shares)
    small = sum(link.small(sent, size) for sent in small_bytes(work.widths, nodes, size))
    buckets = [
        # The sums go along a ring.
        (moment * compute, link.large(there), link.large(back, size - 1))
        for moment, there, back in _buckets(work.begun, nodes, size)
    ]
    gradients = _exposed(buckets) if apart else sum(there + back for _, there, back in buckets)
    return StepTime(compute=compute, small=small, gradients=gradients)


def small_bytes(widths: Sequence[int], nodes: int, size: int) -> list[int]:
    """Bytes that a process sends in each small message of a step, where the one with the most nodes has so many."""
    return [nodes * width * DOUBLE * (size - 1) for width in widths]


def gradient_bytes(values: Sequence[int], nodes: int, size: int) -> int:
    """Bytes of gradients that a process with so many nodes sends in a step; values of each weight, the last first."""
    begun = [(each, 0.0) for each in (*values, 0)]
    return sum(there + back for _, there, back in _buckets(begun, nodes, size))


def _buckets(begun: Sequence[tuple[int, float]], nodes: int, size: int) -> Iterator[tuple[float, int, int]]:
    """Of each bucket the part of the step when it leaves, and the bytes of its nodes and of its sums.

    A bucket leaves before the first weight that does not fit, and the last one after the backward pass.
    """
    used = capacity = 0
    for values, moment in begun:
        if used and (not values or used + values > capacity):
            piece = -(-used // size) * FLOAT * (size - 1)
            yield moment, nodes * piece, piece
            used = 0
        capacity = capacity if used else max(BUCKET, values)
        used += values


def _exposed(buckets: Sequence[tuple[float, float, float]]) -> float:
    """Seconds by which messages prolong a backward pass, which goes on while they are on their way.

    Args:
        buckets: when each leaves if nothing delays the pass, and the seconds of its nodes and of its sums; the last one
            leaves at the end of the pass.
    """
    delay = free = arrived = sums = 0.0  # free: when all that is on its way will be there
    for moment, there, back in buckets:
        now = moment + delay
        here = max(now, free) + there
        # The sums of the bucket before follow, when its nodes are there, for which the pass waits.
        delay = max(now, arrived) - moment
        free, arrived, sums = here + sums, here, back
    return free + sums - buckets[-1][0]
