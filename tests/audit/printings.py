"""Ways in which people compute an accuracy and write it down: three precisions, then formatting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from statistics import fmean

import numpy as np
import torch

Write = Callable[[float], str]


def mean_in_float32(values: Sequence[float]) -> float:
    return float(torch.tensor(values, dtype=torch.float32).mean().item())


def sum_over_count(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def mean_by_numpy(values: Sequence[float]) -> float:
    return float(np.mean(values))


@dataclass(frozen=True, kw_only=True)
class Printing:
    """A way to compute an accuracy from numbers of images and to write the accuracy as text."""

    compute: Callable[[int, int], float]  # of k images of n; a share, or a percentage
    write: Write
    average: Callable[[Sequence[float]], float] = sum_over_count

    def __call__(self, correct: int, size: int) -> str:
        return self.write(self.compute(correct, size))

    def mean(self, correct: Sequence[int], sizes: Sequence[int]) -> str:
        """Return the plain mean over the classes as text, computed from unrounded values."""
        return self.write(self.average([self.compute(k, n) for k, n in zip(correct, sizes, strict=True)]))


def share(k: int, n: int) -> float:
    return k / n


def percentage(k: int, n: int) -> float:
    """Return 100 * k / n in double precision; the multiplication comes first."""
    return 100 * k / n


def percentage_of_share(k: int, n: int) -> float:
    """Return k / n * 100 in double precision; the division comes first."""
    return k / n * 100


def one_minus_error(k: int, n: int) -> float:
    return 1 - (n - k) / n


def percentage_of_one_minus_error(k: int, n: int) -> float:
    return (1 - (n - k) / n) * 100


def times_inverse(k: int, n: int) -> float:
    return k * (1 / n)


def hundred_minus_error(k: int, n: int) -> float:
    return 100 - 100 * (n - k) / n


def float32_item(k: int, n: int) -> float:
    """Compute (predicted == labels).float().mean().item(): the double nearest to a float32 mean."""
    return float((torch.tensor(float(k)) / n).item())


def float32_percentage(k: int, n: int) -> float:
    """Compute 100. * correct / total with a tensor of correct images."""
    return float((100.0 * torch.tensor(float(k)) / n).item())


def float32_percentage_of_mean(k: int, n: int) -> float:
    """Compute 100 * correct.float().mean()."""
    return float((torch.tensor(float(k)) / n * 100).item())


def float32_one_minus_error(k: int, n: int) -> float:
    return float((1 - torch.tensor(float(n - k)) / n).item())


def float32_integer_division(k: int, n: int) -> float:
    """Compute correct / total with two integer tensors."""
    return float((torch.tensor(k) / torch.tensor(n)).item())


def float16_item(k: int, n: int) -> float:
    return float((torch.tensor(float(k)) / n).half().item())


def numpy_float32(k: int, n: int) -> float:
    return float(np.float32(k) / np.float32(n))


def fixed(decimals: int, sign: str = "") -> Write:
    """Return a formatter that rounds like f'{x:.4f}': the exact binary value, ties to even, zeros kept."""
    return lambda value: f"{value:.{decimals}f}{sign}"


def half_up(decimals: int, sign: str = "") -> Write:
    """Return a formatter that rounds ties of the shortest decimal form away from zero, as spreadsheets do."""
    step = Decimal(1).scaleb(-decimals)
    return lambda value: f"{Decimal(repr(float(value))).quantize(step, ROUND_HALF_UP)}{sign}"


def truncated(decimals: int, sign: str = "") -> Write:
    step = Decimal(1).scaleb(-decimals)
    return lambda value: f"{Decimal(repr(float(value))).quantize(step, ROUND_DOWN)}{sign}"


def zeros_dropped(decimals: int, sign: str = "") -> Write:
    """Return a formatter like str(round(x, 4)), which prints 0.93 for 0.9300."""
    return lambda value: f"{round(float(value), decimals)}{sign}"


def general(value: float) -> str:
    return "%.17g" % value  # noqa: UP031


def comma(decimals: int, sign: str = "") -> Write:
    return lambda value: f"{value:.{decimals}f}{sign}".replace(".", ",")


def as_percent_of_share(decimals: int) -> Write:
    return lambda value: f"{value:.{decimals}%}"


DECIMALS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 15, 16, 17, 30)
PRINTINGS: dict[str, Printing] = {
    **{f"share to {d} decimals": Printing(compute=share, write=fixed(d)) for d in DECIMALS},
    **{f"percent to {d} decimals": Printing(compute=percentage, write=fixed(d, " %")) for d in (0, 1, 2, 3, 4, 8, 13)},
    "percent cut by %d": Printing(compute=percentage, write=truncated(0, " %")),
    "percent cut to 2 decimals": Printing(compute=percentage, write=truncated(2, "%")),
    "share cut to 4 decimals": Printing(compute=share, write=truncated(4)),
    "share half up to 3 decimals": Printing(compute=share, write=half_up(3)),
    "percent half up to 1 decimal": Printing(compute=percentage_of_share, write=half_up(1, "%")),
    "round(x, 4)": Printing(compute=share, write=zeros_dropped(4), average=mean_by_numpy),
    "round(100 x, 2) with a sign": Printing(compute=percentage, write=zeros_dropped(2, "%")),
    "round(x, 2)": Printing(compute=share, write=zeros_dropped(2), average=fmean),
    "percent without a sign, 2 decimals": Printing(compute=percentage, write=fixed(2)),
    "percent without a sign, in full": Printing(compute=percentage, write=repr),
    "x:.2%": Printing(compute=share, write=as_percent_of_share(2)),
    "x:.0%": Printing(compute=share, write=as_percent_of_share(0)),
    "decimal comma": Printing(compute=percentage, write=comma(2, " %")),
    "decimal comma, share": Printing(compute=share, write=comma(4)),
    "repr of a double": Printing(compute=share, write=repr, average=mean_by_numpy),
    "%.17g": Printing(compute=share, write=general),
    "repr of 100 k/n with a sign": Printing(compute=percentage, write=lambda value: f"{value} %"),
    "repr of k/n*100 with a sign": Printing(compute=percentage_of_share, write=lambda value: f"{value}%"),
    "repr of 1 - err": Printing(compute=one_minus_error, write=repr),
    "repr of (1 - err)*100": Printing(compute=percentage_of_one_minus_error, write=lambda value: f"{value} %"),
    "repr of k*(1/n)": Printing(compute=times_inverse, write=repr),
    "repr of 100 - 100 e/n": Printing(compute=hundred_minus_error, write=lambda value: f"{value} %"),
    "1 - err to 15 decimals": Printing(compute=one_minus_error, write=fixed(15)),
    "torch .item()": Printing(compute=float32_item, write=repr, average=mean_in_float32),
    "torch .item(), mean in doubles": Printing(compute=float32_item, write=repr),
    "torch integer tensors": Printing(compute=float32_integer_division, write=repr, average=mean_in_float32),
    "torch 100. * correct / total": Printing(compute=float32_percentage, write=lambda value: f"{value} %"),
    "torch 100 * mean": Printing(compute=float32_percentage_of_mean, write=repr, average=mean_in_float32),
    "torch 1 - err": Printing(compute=float32_one_minus_error, write=repr),
    "torch to 4 decimals": Printing(compute=float32_item, write=fixed(4), average=mean_in_float32),
    "torch to 10 decimals": Printing(compute=float32_percentage, write=fixed(10, " %")),
    "torch half": Printing(compute=float16_item, write=repr, average=mean_in_float32),
    "torch half to 3 decimals": Printing(compute=float16_item, write=fixed(3)),
    "str of np.float32": Printing(
        compute=numpy_float32, write=lambda value: str(np.float32(value)), average=mean_in_float32
    ),
}
