"""torchvision's classification networks, with its ImageNet weights in torch.hub's cache."""

from __future__ import annotations

import urllib.error
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from in4310repro.data.preprocessing import Preprocessing
from in4310repro.models.sources.base import Facts, Source
from in4310repro.models.sources.lite import without_download

if TYPE_CHECKING:
    import torch
    from torchvision.models import WeightsEnum

    from in4310repro.models.content import Content

# The report's network and its deeper siblings.
RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
# Heads that are trained beside the last one and that no score comes from: built without them.
AUXILIARY = {"googlenet": ("aux1.", "aux2."), "inception_v3": ("AuxLogits.",)}


class Torchvision(Source):
    """Source of torchvision's classification networks."""

    pattern = r"\w{1,100}"
    example = "a network of torchvision such as resnet18 (in4310repro modules --list)"

    def names(self) -> list[str]:
        """List the names of torchvision's classification networks."""
        from torchvision import models

        names: list[str] = models.list_models(module=models)
        return names

    def create(self, name: str, classes: int) -> object:
        """Return the network that torchvision constructs, without auxiliary heads."""
        from torchvision import models

        # ImageNet weights of these two networks were trained with another normalisation, which they undo.
        options = {"aux_logits": False, "init_weights": False, "transform_input": True} if name in AUXILIARY else {}
        return models.get_model(name, weights=None, num_classes=classes, **options)

    def is_resnet(self, name: str) -> bool:
        """Return whether the name is one of `RESNETS`."""
        return name in RESNETS

    def facts(self, name: str) -> Facts:
        """Return number of parameters, smallest image and ImageNet weights according to torchvision."""
        from torchvision import models

        meta = models.get_model_weights(name).DEFAULT.meta
        return Facts(meta["num_params"], max(meta["min_size"]), imagenet_weights(name).name)

    def imagenet_file(self, name: str) -> Path:
        """Return the path of the weights in torch.hub's cache, even before a download."""
        import torch

        url: str = imagenet_weights(name).url
        return Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]

    def read_imagenet(self, name: str) -> Content:
        """Read the weights from torch.hub's cache, after downloading them if necessary."""
        from in4310repro.models.content import read_content

        file = self.imagenet_file(name)
        if not file.is_file():
            _download(name, file)
        return read_content(file)

    def adapt(self, name: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the weights without those of auxiliary heads."""
        return {key: value for key, value in tensors.items() if not key.startswith(AUXILIARY.get(name, ()))}

    def evaluation(self, name: str) -> Preprocessing:
        """Return the preprocessing in torchvision's transforms for the weights."""
        transforms = imagenet_weights(name).transforms()
        (side,), (short,) = transforms.crop_size, transforms.resize_size
        return Preprocessing(
            mean=tuple(transforms.mean),
            std=tuple(transforms.std),
            interpolation=transforms.interpolation.value,
            crop_ratio=min(1.0, side / short),
            size=side,
        )

    def top_1(self, name: str) -> float:
        """Return the accuracy that torchvision states for the weights."""
        return float(imagenet_weights(name).meta["_metrics"]["ImageNet-1K"]["acc@1"]) / 100


def imagenet_weights(name: str) -> WeightsEnum:
    """Return version 1 of torchvision's ImageNet weights for a network, or the default weights if it has none."""
    from torchvision import models

    enum = models.get_model_weights(name)
    return getattr(enum, "IMAGENET1K_V1", enum.DEFAULT)


def _download(name: str, file: Path) -> None:
    import torch

    url = imagenet_weights(name).url
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(file), hash_prefix=file.stem.rsplit("-", 1)[1], progress=False)
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        raise ValueError(
            f"torchvision's ImageNet weights of {name} are not in its cache and cannot be downloaded ({error}); "
            f"{without_download()}; or get {url} on a machine with access and put it at {file}; or give "
            "--weights none or --weights FILE"
        ) from None
