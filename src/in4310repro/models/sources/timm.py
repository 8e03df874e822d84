"""timm's networks, named timm:NAME, with the weights from its hub."""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING, Any

from in4310repro.data.preprocessing import INTERPOLATIONS, Preprocessing
from in4310repro.models.sources.base import Source
from in4310repro.models.sources.lite import without_download
from in4310repro.system import machine

if TYPE_CHECKING:
    from in4310repro.models.content import Content

PREFIX = "timm:"


def _timm() -> Any:
    return importlib.import_module("timm")


def _short(name: str) -> str:
    """Return the network's name in timm, without the prefix `timm:`."""
    return name.removeprefix(PREFIX)


class Timm(Source):
    """Source of timm's networks, if timm is installed."""

    pattern = PREFIX + r"[\w./-]{1,100}"
    example = f"{PREFIX}NAME"
    foreign = True

    def check(self, name: str) -> None:
        """Raise ValueError if timm is not installed or has no such network."""
        try:
            timm = _timm()
        except ImportError:
            raise ValueError(f"the network {name} needs timm: {machine.install_command('timm')}") from None
        short = _short(name)
        if not timm.is_model(short):
            near = difflib.get_close_matches(short, timm.list_models(), 1)
            meant = f"; did you mean {PREFIX}{near[0]}?" if near else ""
            raise ValueError(f"timm {timm.__version__} has no model {short!r}{meant}")

    def create(self, name: str, classes: int) -> object:
        """Return the network that timm constructs."""
        return _timm().create_model(_short(name), num_classes=classes)

    def read_imagenet(self, name: str) -> Content:
        """Read the pretrained weights by timm, which downloads them if its cache does not have them."""
        from in4310repro.models.content import Content
        from in4310repro.system.tensors import tensors_sha256

        try:
            model = _timm().create_model(_short(name), pretrained=True)
        except Exception as error:
            raise ValueError(
                f"timm's weights of {name} cannot be downloaded ({error}); {without_download()}, "
                "--weights none or --weights FILE"
            ) from None
        tensors = model.state_dict()
        return Content(source=f"timm's weights of {name}", tensors=tensors, sha256=tensors_sha256(tensors))

    def evaluation(self, name: str) -> Preprocessing:
        """Return the preprocessing in timm's configuration of the pretrained network."""
        settings = _timm().get_pretrained_cfg(_short(name))
        method = settings.interpolation if settings.interpolation in INTERPOLATIONS else "bicubic"
        ratio, side = settings.crop_pct or 1.0, settings.input_size[-1]
        mean, std = tuple(settings.mean), tuple(settings.std)
        return Preprocessing(mean=mean, std=std, interpolation=method, crop_ratio=ratio, size=side)
