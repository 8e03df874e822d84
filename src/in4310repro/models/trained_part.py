"""Functions for the trained part of a network and for its last layer."""

from torch import nn

from in4310repro.models.network import FROM
from in4310repro.models.sources import Network


def frozen_modules(model: nn.Module, part: str) -> list[nn.Module]:
    """Return the modules that are not trained, in the network's order; an empty list if `part` is `all`.

    These are the modules before the first trained layer, without the modules that contain this layer.

    Args:
        model: the network.
        part: `all`, or `from:LAYER` with the name of the first trained layer.

    Raises:
        ValueError: the network has no such layer.
    """
    if not part.startswith(FROM):
        return []
    layer, named = part.removeprefix(FROM), dict(model.named_modules())
    if layer not in named:
        examples = [name for name, _ in model.named_children()]
        raise ValueError(
            f"no layer {layer!r} to train from; the network has {', '.join(examples)}, and modules inside of these are "
            "valid too"
        )
    before = list(named)[: list(named).index(layer)]
    return [named[name] for name in before if name and not layer.startswith(f"{name}.")]


def last_layer_name(model: nn.Module, network: Network) -> str:
    """Return the name of the linear layer that computes the scores.

    Raises:
        ValueError: the network does not end in a linear layer.
    """
    layers = sorted({each.rpartition(".")[0] for each in network.head()})
    if len(layers) != 1 or not isinstance(model.get_submodule(layers[0]), nn.Linear):
        raise ValueError(
            f"{network.name} does not end in one linear layer but in {', '.join(layers)}; fitting a head and finding "
            "doubtful labels need the inputs of such a layer as features: resnet18 has one, and --train all needs none"
        )
    return layers[0]


def last_layer(model: nn.Module, network: Network) -> nn.Linear:
    """Return the linear layer that computes the class scores.

    Raises:
        ValueError: the network does not end in a linear layer.
    """
    layer = model.get_submodule(last_layer_name(model, network))
    assert isinstance(layer, nn.Linear)  # noqa: S101 - for the type checker
    return layer
