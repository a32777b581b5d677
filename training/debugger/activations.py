"""Inputs and outputs of the trained layers' ReLUs: a mean per photo and channel, of few photos at few steps.

Runs in training jobs that train the backbone, beside the hook. A ReLU works in place, is used three times in a block, in each part
of a batch, and again after a step that did not fit into memory; one pass through the network is kept.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


class Activations:
    """Watches the ReLUs of a network; at steps without `watching` the cost is not measurable."""

    def __init__(self, network: nn.Module, photos: int) -> None:
        """`photos`: how many of a step are kept at most, the first ones."""
        self.watching = False
        """Whether the next pass with gradients is kept; an evaluation's passes have none."""
        self._photos, self._inside = photos, False
        self._kept: dict[str, torch.Tensor] = {}
        self._uses: dict[str, int] = {}
        self.failed: Callable[[Exception], None] = print
        """Called with an error; the pass itself continues."""
        relus = trained_relus(network)
        self._handles = [network.register_forward_pre_hook(self._enter), network.register_forward_hook(self._leave)] if relus else []
        self.names = tuple(f"{name}_{side}_0" for name, _ in relus for side in ("input", "output"))
        """Names of some of the tensors."""
        for name, relu in relus:
            self._handles.append(relu.register_forward_pre_hook(self._keeper(name, "input")))
            self._handles.append(relu.register_forward_hook(self._keeper(name, "output")))

    def take(self) -> dict[str, torch.Tensor]:
        """Return float32 [photos, channels] by smdebug's names, and drop them here."""
        kept, self._kept, self._inside = self._kept, {}, False
        return kept

    def close(self) -> None:
        """Stop watching."""
        for handle in self._handles:
            handle.remove()

    def _enter(self, _network: nn.Module, _inputs: object) -> None:
        self._inside = self.watching and torch.is_grad_enabled()
        if self._inside:
            self._kept, self._uses = {}, {}

    def _leave(self, _network: nn.Module, _inputs: object, _output: object) -> None:
        if self._inside:  # the first part of the batch is done: the others are not watched
            self.watching = self._inside = False

    def _keeper(self, name: str, side: str) -> Any:
        """Return a hook that can be called before and after a ReLU."""

        def keep(_relu: nn.Module, *values: Any) -> None:
            if not self._inside:
                return
            try:
                self._keep(f"{name}_{side}", values[-1][0] if side == "input" else values[-1])
            except Exception as error:  # noqa: BLE001 - whatever fails in recording, the training continues
                self.watching = self._inside = False
                self._kept = {}
                self.failed(error)

        return keep

    def _keep(self, name: str, value: torch.Tensor) -> None:
        number = self._uses[name] = self._uses.get(name, -1) + 1
        self._kept[f"{name}_{number}"] = channel_means(value.detach()[: self._photos])


def channel_means(values: torch.Tensor) -> torch.Tensor:
    """Return float32 [photos, channels] of [photos, channels, ...]."""
    return values.float().flatten(2).mean(dim=2) if values.ndim > 2 else values.float().clone()


def channels(network: nn.Module) -> int:
    """Return how many numbers are kept per photo: in a ResNet each convolution of a block is followed by one use of its ReLU."""
    modules = dict(network.named_modules())
    blocks = [modules[name.rpartition(".")[0]] for name, _ in trained_relus(network)]
    return 2 * sum(layer.out_channels for block in blocks for layer in block.children() if isinstance(layer, nn.Conv2d))


def trained_relus(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the ReLUs beside a layer that is trained, by name."""
    modules = dict(network.named_modules())
    return [(name, module) for name, module in modules.items() if isinstance(module, nn.ReLU) and _trains(modules[name.rpartition(".")[0]])]


def _trains(block: nn.Module) -> bool:
    """Return whether a layer directly in a block is trained; blocks inside it do not count."""
    return any(parameter.requires_grad for layer in block.children() for parameter in layer.parameters(recurse=False))
