"""States of optimizers and generators, and options of optimizers, as a trace has them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from in4310repro.trace.tensors import generator_states, optimizer_tensors, plain_options


def test_numbers_of_an_optimizer_keep_all_their_digits_and_its_state_may_be_no_mapping() -> None:
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters())
    optimizer.state[model.weight] = {"mass": 1 + 2**-40, "count": 2**53, "name": "warm"}
    optimizer.state[model.bias] = [torch.ones(2)]
    names = {id(each): name for name, each in model.named_parameters()}
    found = {name: each.tolist() for name, each in optimizer_tensors(optimizer, 0, names)}
    numbers = {"optimizer.weight.mass": 1 + 2**-40, "optimizer.weight.count": 2.0**53}
    assert found == numbers | {"optimizer.bias[0]": [1, 1]}
    assert str(found["optimizer.weight.count"]) == "9007199254740992.0"


def test_the_generator_of_every_card_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    states = [torch.zeros(16, dtype=torch.uint8), torch.ones(16, dtype=torch.uint8)]
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: states)
    found = dict(generator_states())
    assert [*found][:3] == ["generator.torch", "generator.cuda", "generator.cuda1"]
    assert [found["generator.cuda"], found["generator.cuda1"]] == states


def test_the_state_of_numpys_generator_does_not_depend_on_how_arrays_are_printed() -> None:
    state = dict(generator_states())["generator.numpy"]
    with np.printoptions(threshold=5):
        assert torch.equal(dict(generator_states())["generator.numpy"], state)


def test_options_that_json_does_not_have_are_texts_or_left_out() -> None:
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters())
    shown = {
        "lr": 0.5,
        "weight_decay": torch.tensor(2.0),
        "momentum": math.inf,
        "foreach": None,
        "betas": (1, -math.inf),
    }
    optimizer.param_groups[:] = [{"params": [], "hook": print, "hooks": [1, print], "table": {"a": 1}, **shown}]
    expected = {"lr": 0.5, "weight_decay": 2.0, "momentum": "inf", "foreach": None, "betas": [1, "-inf"]}
    found = plain_options(optimizer, {})[0]
    assert {key: found[key] for key in found if key not in ("class", "parameters", "of")} == expected
    assert (found["class"], found["parameters"]) == ("SGD", 0)
