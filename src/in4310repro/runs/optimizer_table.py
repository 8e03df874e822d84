"""Table of the optimizers for training in epochs, with the state that each keeps; imports no torch."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

FITS_HEAD = "L-BFGS"  # of the last layer alone, which is fitted without steps of epochs


class Kept(enum.Enum):
    """Meaning of a float32 tensor that an optimizer keeps for each parameter."""

    COUNT = "the number of steps"
    FACTOR = "one number in [0, 1]"
    VALUES = "a number for each of the parameter's"
    SQUARES = "a number for each of the parameter's, none below 0"

    @property
    def has_shape_of_parameter(self) -> bool:
        """True if the tensor has the shape of its parameter; False if it is a single number."""
        return self in (Kept.VALUES, Kept.SQUARES)


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """An optimizer: its name, the state that it keeps, and whether it is portable or has a momentum."""

    name: str  # of the class in torch.optim and, where it is portable, in `arithmetic`
    state: Mapping[str, Kept]  # by its name in torch's state dict
    is_portable: bool = False  # `arithmetic` has a class of this name, whose step repeats to the bit elsewhere
    has_momentum: bool = False  # takes the setting's momentum, and keeps a state only where that is above 0

    def state_with(self, momentum: float) -> Mapping[str, Kept]:
        """Return the tensors, by name, that the optimizer keeps per parameter at this momentum."""
        return {} if self.has_momentum and not momentum else self.state


_MOMENTS = {"exp_avg": Kept.VALUES, "exp_avg_sq": Kept.SQUARES}
OPTIMIZERS = {
    each.name: each
    for each in (
        Optimizer(name="AdamW", state={"step": Kept.COUNT, **_MOMENTS}, is_portable=True),
        Optimizer(name="RMSprop", state={"step": Kept.COUNT, "square_avg": Kept.SQUARES}, is_portable=True),
        Optimizer(name="SGD", state={"momentum_buffer": Kept.VALUES}, is_portable=True, has_momentum=True),
        Optimizer(name="Adam", state={"step": Kept.COUNT, **_MOMENTS}),
        Optimizer(name="NAdam", state={"step": Kept.COUNT, "mu_product": Kept.FACTOR, **_MOMENTS}),
        Optimizer(name="Adagrad", state={"step": Kept.COUNT, "sum": Kept.SQUARES}),
    )
}


def obstacle(optimizer: str) -> str:
    """Return a clause that says that an optimizer has no portable arithmetic; empty if it has."""
    if optimizer not in OPTIMIZERS or OPTIMIZERS[optimizer].is_portable:
        return ""
    portable = ", ".join(name for name, each in OPTIMIZERS.items() if each.is_portable)
    return f"optimizer {optimizer} has no portable step; {portable} have one"
