"""Training steps of a residual network, computed by the program in oracle/ alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from tests.oracle.program import Oracle, Value

EPSILON, MOMENTUM = 1e-5, 0.1  # of torch's batch norm


@dataclass
class ResidualNetwork:
    """A torchvision ResNet of basic blocks, as its state dict; the gradients of the last step, by name."""

    oracle: Oracle
    state: dict[str, Tensor]
    gradients: dict[str, Tensor] = field(default_factory=dict)
    kept: dict[str, list[Tensor]] = field(default_factory=dict)  # by the optimizer, of each parameter
    steps: int = 0

    def step(self, images: Tensor, labels: Tensor, optimizer: str, settings: Mapping[str, Value]) -> Tensor:
        """Take a step of training on a batch; return the loss before it."""
        loss = self.pass_back(*self.scores(images), labels)
        self.steps += 1
        for name, gradient in self.gradients.items():
            known = [self.state[name], *self.kept.get(name, [])]
            self.state[name], *self.kept[name] = self.oracle.take_step(optimizer, self.steps, known, gradient, settings)
        return loss

    def scores(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the scores of a batch in training mode, and the maps between the layers, which `pass_back` needs."""
        maps = [images, self.convolve(images, "conv1", 2, 3)]
        maps.append(self.normalise(maps[-1], "bn1", "relu"))
        maps += self.oracle("max_pool", maps[-1], kernel=(3, 3), stride=(2, 2), padding=(1, 1, 1, 1))
        for block in self.blocks():
            start, stride = maps[-1], self.stride(block)
            first = self.convolve(start, f"{block}.conv1", stride, 1)
            between = self.normalise(first, f"{block}.bn1", "relu")
            second = self.convolve(between, f"{block}.conv2", 1, 1)
            shortcut = other = start
            if self.is_projected(block):
                shortcut = self.convolve(start, f"{block}.downsample.0", stride, 0)
                other = self.normalise(shortcut, f"{block}.downsample.1")
            result = self.normalise(second, f"{block}.bn2", "relu", other)
            maps += [first, between, second, shortcut, other, result]
        (pooled,) = self.oracle("average_pool", maps[-1], output=(1, 1))
        maps.append(pooled.flatten(1))
        (scores,) = self.oracle("linear", maps[-1], self.state["fc.weight"], self.state["fc.bias"])
        return scores, maps

    def pass_back(self, scores: Tensor, maps: list[Tensor], labels: Tensor) -> Tensor:
        """Compute all gradients from the scores and maps of a batch; return its loss."""
        images, first, normed, pooled, *maps, last = maps
        (loss,) = self.oracle("cross_entropy", scores, labels)
        (gradient,) = self.oracle("cross_entropy_backward", loss.new_ones(1), scores, labels)
        gradient, self.gradients["fc.weight"], self.gradients["fc.bias"] = self.oracle(
            "linear_backward", gradient, last, self.state["fc.weight"]
        )
        height, width = maps[-1].shape[2:]
        (gradient,) = self.oracle(
            "average_pool_backward", gradient[:, :, None, None], output=(1, 1), height=height, width=width
        )
        starts = [pooled, *maps[5::6]]
        for place, block in reversed([*enumerate(self.blocks())]):
            conv1, between, conv2, shortcut, other, _result = maps[6 * place : 6 * place + 6]
            start, stride = starts[place], self.stride(block)
            gradient, of_other = self.normalise_back(gradient, conv2, f"{block}.bn2", "relu", other)
            gradient = self.convolve_back(gradient, between, f"{block}.conv2", 1, 1)
            gradient, _ = self.normalise_back(gradient, conv1, f"{block}.bn1", "relu")
            gradient = self.convolve_back(gradient, start, f"{block}.conv1", stride, 1)
            if self.is_projected(block):
                of_other, _ = self.normalise_back(of_other, shortcut, f"{block}.downsample.1")
                of_other = self.convolve_back(of_other, start, f"{block}.downsample.0", stride, 0)
            gradient = of_other + gradient
        (gradient,) = self.oracle(
            "max_pool_backward", gradient, normed, kernel=(3, 3), stride=(2, 2), padding=(1, 1, 1, 1)
        )
        gradient, _ = self.normalise_back(gradient, first, "bn1", "relu")
        self.convolve_back(gradient, images, "conv1", 2, 3)
        return loss

    def blocks(self) -> list[str]:
        return [name.removesuffix(".conv1.weight") for name in self.state if name.endswith(".conv1.weight")]

    def stride(self, block: str) -> int:
        return 2 if block.endswith(".0") and not block.startswith("layer1") else 1

    def is_projected(self, block: str) -> bool:
        return f"{block}.downsample.0.weight" in self.state

    def convolve(self, maps: Tensor, name: str, stride: int, padding: int) -> Tensor:
        (result,) = self.oracle("convolution", maps, self.state[f"{name}.weight"], **sliding(stride, padding))
        return result

    def convolve_back(self, gradient: Tensor, maps: Tensor, name: str, stride: int, padding: int) -> Tensor:
        weight, keys = self.state[f"{name}.weight"], sliding(stride, padding)
        (self.gradients[f"{name}.weight"],) = self.oracle(
            "weight_gradient", maps, gradient, kernel=tuple(weight.shape[2:]), whole=len(maps), **keys
        )
        height, width = maps.shape[2:]
        (result,) = self.oracle("convolution_backward", gradient, weight, height=height, width=width, **keys)
        return result

    def normalise(self, maps: Tensor, name: str, activation: str = "none", other: Tensor | None = None) -> Tensor:
        result, _mean, _inverse, mean, variance = self.oracle(
            "batch_norm", maps, *self.of_norm(name), other, mode="training", activation=activation, **NORM
        )
        self.state[f"{name}.running_mean"], self.state[f"{name}.running_var"] = mean, variance
        self.state[f"{name}.num_batches_tracked"] = self.state[f"{name}.num_batches_tracked"] + 1
        return result

    def normalise_back(
        self, gradient: Tensor, maps: Tensor, name: str, activation: str = "none", other: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the gradients of the maps and of the second map (of the maps again if there is none)."""
        result, self.gradients[f"{name}.weight"], self.gradients[f"{name}.bias"], *second = self.oracle(
            "batch_norm_backward",
            *(gradient, maps, *self.of_norm(name), other),
            mode="training",
            activation=activation,
            **NORM,
        )
        return result, second[0] if second else result

    def of_norm(self, name: str) -> list[Tensor]:
        return [self.state[f"{name}.{each}"] for each in ("weight", "bias", "running_mean", "running_var")]


NORM: dict[str, Value] = {"epsilon": EPSILON, "momentum": MOMENTUM}


def sliding(stride: int, padding: int) -> dict[str, Value]:
    return {"stride": (stride, stride), "padding": (padding,) * 4}
