"""Training and inference in float32 with a fixed order of operations, for equal bits across processors.

It imports no other room; docs/arithmetic.md has every formula.

    from in4310repro.arithmetic import AdamW, cross_entropy, portable
    model = portable(torchvision.models.resnet18())
"""

from typing import TYPE_CHECKING

from in4310repro.arithmetic.functions import cross_entropy, losses, softmax
from in4310repro.arithmetic.products import product
from in4310repro.arithmetic.self_test import VERSION, instruction_set, obstacle, self_test
from in4310repro.arithmetic.steps import SGD, AdamW, RMSprop

if TYPE_CHECKING:
    from in4310repro.arithmetic.networks import portable, refused_modules

__all__ = ["SGD", "VERSION", "AdamW", "RMSprop", "cross_entropy", "instruction_set", "losses", "obstacle"]
__all__ += ["portable", "product", "refused_modules", "self_test", "softmax"]


def __getattr__(name: str) -> object:
    """Import `portable` or `refused_modules` on first access. Their module loads torchvision, which takes seconds."""
    if name not in ("portable", "refused_modules"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from in4310repro.arithmetic import networks

    return getattr(networks, name)
