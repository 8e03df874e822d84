"""Networks by name from four sources, with their initial weights, modules and trained part.

`sources.open_network` is the one place that parses the name of a network.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def build(name: str, classes: int, seed: int, weights: str = "none") -> "torch.nn.Module":
    """Build a network in channels_last memory, on the CPU.

    The state of torch's global random generator is unchanged afterwards.

    Args:
        name: the name of a network of torchvision, `efficientnet_lite0`, `timm:NAME`, or `MODULE:FUNCTION`.
        classes: number of outputs of the head.
        seed: seed of the random initial weights. If `weights` is `none`, all weights are random. Otherwise only
            the head is random, and only if the loaded head has a different number of classes.
        weights: `none`, `imagenet` (torchvision's or timm's) or a .safetensors or .pth file.

    Raises:
        ValueError: the name is unknown, the weights are missing or unreadable, their keys or shapes differ from
            the network's, or a value is unusable, for example complex or not finite.

    Examples:
        >>> import torch
        >>> model = build("resnet18", classes=6, seed=0)
        >>> model(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 6])
    """
    # Here, since a configuration opens its network and needs no torch for that.
    from in4310repro.models.sources import open_network

    network = open_network(name)
    network.check()
    return network.build(classes, seed, network.read_weights(weights))
