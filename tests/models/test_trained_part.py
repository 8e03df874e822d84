"""The layers that a setting (one optimizer's training) trains: all, or one and the later ones, and their rate."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from in4310repro import models
from in4310repro.models import building
from in4310repro.models.sources import open_network
from in4310repro.runs import presets
from in4310repro.runs.config import Config, change
from in4310repro.runs.folder import RunFolder
from in4310repro.runs.settings import OptimizerSetting
from in4310repro.training.training import Epochs
from tests.training.test_training import TINY, task


def network() -> torch.nn.Module:
    return models.build("resnet18", 6, seed=0)


def after_an_epoch(config: Config, tmp_path: Path) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], Epochs]:
    """Train one epoch; return the state before it, the state after it, and the Epochs object that trained it."""
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    epochs = Epochs(task(model, config, config.settings[0], RunFolder(tmp_path)))
    epochs.train(lambda: None)
    return before, epochs.model.state_dict(), epochs


def test_what_comes_before_the_layer_keeps_weights_and_running_statistics(tmp_path: Path) -> None:
    before, after, epochs = after_an_epoch(replace(TINY, train="from:layer3.1"), tmp_path)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    trained = {name for name in before if name.startswith(("layer3.1.", "layer4.", "fc."))}
    assert moved == trained
    assert "layer3.0.bn1.running_mean" in before.keys() - moved
    parameters = {id(each) for group in epochs.optimizer.param_groups for each in group["params"]}
    assert parameters == {id(each) for name, each in epochs.model.named_parameters() if name in trained}


def test_batch_norm_before_the_layer_would_move_in_training_mode() -> None:
    model = network().train().requires_grad_(requires_grad=False)
    before = model.get_buffer("layer1.0.bn1.running_mean").clone()
    model(torch.rand(2, 3, 32, 32))
    assert not torch.equal(before, model.get_buffer("layer1.0.bn1.running_mean"))


def test_a_setting_may_train_another_part_than_the_others() -> None:
    config = replace(TINY, settings=(replace(TINY.settings[0], train="from:fc"), *TINY.settings[1:]))
    assert [config.trained_part(each) for each in config.settings] == ["from:fc", "all", "all"]


def test_the_head_has_its_own_learning_rate(tmp_path: Path) -> None:
    sgd = OptimizerSetting(name="sgd", optimizer="SGD", learning_rate=1e-30, head_learning_rate=0.1)
    before, after, epochs = after_an_epoch(replace(TINY, settings=(sgd,), schedule="constant", warm_up=0.0), tmp_path)
    weights = {name for name, _ in epochs.model.named_parameters()}
    moved = {name for name in weights if not torch.allclose(before[name], after[name], rtol=0, atol=1e-20)}
    assert moved == {"fc.weight", "fc.bias"}
    assert [group["lr"] for group in epochs.optimizer.param_groups] == [1e-30, 0.1]


def test_the_head_has_its_own_learning_rate_where_nothing_else_is_trained(tmp_path: Path) -> None:
    sgd = OptimizerSetting(name="sgd", optimizer="SGD", learning_rate=1e-30, head_learning_rate=0.1, train="from:fc")
    before, after, epochs = after_an_epoch(replace(TINY, settings=(sgd,), schedule="constant", warm_up=0.0), tmp_path)
    assert [group["lr"] for group in epochs.optimizer.param_groups] == [0.1]
    assert not torch.allclose(before["fc.weight"], after["fc.weight"], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("part", "optimizer", "words"),
    [
        ("hed", "AdamW", "train is 'hed'; it must be head, all or from:LAYER; did you mean head"),
        ("from:", "AdamW", "it must be head, all or from:LAYER"),
        ("head", "AdamW", "trains head by AdamW; L-BFGS fits a head"),
        ("all", "L-BFGS", "trains all by L-BFGS"),
    ],
)
def test_a_part_that_does_not_exist_or_fit_is_refused(part: str, optimizer: str, words: str) -> None:
    settings = [{"name": "a", "optimizer": optimizer, "train": part}]
    with pytest.raises(ValueError, match=words):
        change(TINY, {"settings": settings}, "options")


def test_a_layer_that_the_network_lacks_is_refused_with_those_that_it_has() -> None:
    with pytest.raises(ValueError, match=r"no layer 'layer9' to train from; the network has conv1, bn1, .*fc"):
        building.frozen_modules(network(), "from:layer9")


def test_the_protocols_that_a_fit_knows_nothing_of_are_refused() -> None:
    with pytest.raises(ValueError, match="random-flip-at-test, warm-start"):
        presets.configure("photographs-head", None, {"protocol": "published"})


def test_the_part_chooses_the_optimizers_where_no_file_names_them() -> None:
    fitted = presets.configure("tiny", None, {"train": "head"})
    assert [(each.name, each.optimizer) for each in fitted.settings] == [("head", "L-BFGS")]
    trained = presets.configure("photographs-head", None, {"data": "x", "train": "all"})
    assert [each.optimizer for each in trained.settings] == ["AdamW", "RMSprop", "SGD"]


def test_a_network_that_does_not_end_in_a_linear_layer_has_no_head_to_fit() -> None:
    with pytest.raises(ValueError, match=r"squeezenet1_1 does not end in one linear layer but in classifier.1"):
        building.last_layer(models.build("squeezenet1_1", 6, 0), open_network("squeezenet1_1"))


def test_the_last_layer_is_the_linear_one_that_scores_come_from() -> None:
    network = models.build("resnet18", 6, 0)
    name, layer = building.last_layer(network, open_network("resnet18"))
    assert (name, layer) == ("fc", network.get_submodule("fc"))
