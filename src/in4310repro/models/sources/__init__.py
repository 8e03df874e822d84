"""Sources of networks (libraries or user code), one module each, and the table `SOURCES` that lists them."""

from in4310repro.models.sources.base import Facts, Source
from in4310repro.models.sources.functions import Functions
from in4310repro.models.sources.lite import Lite
from in4310repro.models.sources.timm import Timm
from in4310repro.models.sources.torchvision import Torchvision

__all__ = ["SOURCES", "Facts", "Source"]

# The first whose pattern a name fits has it; torchvision's names have no mark of their own.
SOURCES: tuple[Source, ...] = (Lite(), Timm(), Functions(), Torchvision())
