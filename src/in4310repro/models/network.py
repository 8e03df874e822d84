"""Opening of a network by its name, and the names of the parts of a network that can be trained."""

import functools
import re

from in4310repro.models.sources import RESNETS, SOURCES, Network, valid_names
from in4310repro.system.text import as_function, did_you_mean

# What is trained: the last layer alone, which is fitted; everything; or a layer and those after it.
HEAD, ALL, FROM = "head", "all", "from:"


@functools.lru_cache(maxsize=1000)
def open_network(name: str) -> Network:
    """Return the network with this name. Only the form of the name is checked, and no code of the network runs.

    Raises:
        ValueError: no kind of network has names of this form.
    """
    for source in SOURCES:
        if re.fullmatch(source.pattern, name):
            return source(name)
    near = as_function(name[:100])
    meant = f"; did you mean {near}?" if near else did_you_mean(name, RESNETS)
    raise ValueError(f"no model {name[:100]!r}; {valid_names()} are valid{meant}")
