"""ReLUs of trained layers are seen as they were: before they work in place, once a step, of few photos. Run: `make test`."""

import pytest
import torch
from torch import nn

from training.debugger.activations import Activations, channels, trained_relus


class Block(nn.Module):
    """As in a ResNet: one ReLU that works in place, used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 5, 1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        values: torch.Tensor = self.relu(self.conv2(self.relu(self.conv1(pixels))))
        return values


class Net(nn.Module):
    """A frozen block beside a trained one."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen, self.trained = Block().requires_grad_(False), Block()

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        self.frozen(pixels)
        values: torch.Tensor = self.trained(pixels)
        return values.mean(dim=(2, 3))


def test_only_relus_beside_trained_layers_count() -> None:
    network = Net()
    assert [name for name, _ in trained_relus(network)] == ["trained.relu"]
    assert channels(network) == 2 * (4 + 5)
    assert trained_relus(network.requires_grad_(False)) == []


def test_a_network_without_such_relus_is_called_as_if_nobody_watched() -> None:
    """A head's step takes a millisecond, and each hook of a module a part of it."""
    network = nn.Linear(2, 2)
    Activations(network, 8)
    assert not network._forward_hooks
    assert not network._forward_pre_hooks


def test_inputs_are_those_before_the_relu_changed_them() -> None:
    network, pixels = Net(), torch.randn(6, 3, 8, 8)
    watched = Activations(network, photos=4)
    watched.watching = True
    network(pixels)
    kept = watched.take()
    assert list(kept) == [f"trained.relu_{side}_{use}" for use in (0, 1) for side in ("input", "output")]
    before = network.trained.conv1(pixels[:4])
    assert torch.allclose(kept["trained.relu_input_0"], before.mean(dim=(2, 3)), atol=1e-6)
    assert torch.allclose(kept["trained.relu_output_0"], before.relu().mean(dim=(2, 3)), atol=1e-6)
    assert {value.shape for value in kept.values()} == {(4, 4), (4, 5)}
    assert watched.take() == {}


def test_a_channel_is_nought_only_where_its_relu_was_silent() -> None:
    network = Net()
    nn.init.constant_(network.trained.get_parameter("conv2.bias"), -1e6)
    watched = Activations(network, photos=16)
    watched.watching = True
    network(torch.randn(6, 3, 8, 8))
    kept = watched.take()
    assert not kept["trained.relu_output_1"].any()
    assert kept["trained.relu_output_0"].any()


def test_of_a_batch_in_parts_the_first_part_is_kept_and_of_a_pass_done_again_the_last() -> None:
    network, parts = Net(), torch.randn(3, 2, 3, 8, 8)
    watched = Activations(network, photos=16)
    watched.watching = True
    handle = network.trained.conv2.register_forward_hook(lambda *_: (_ for _ in ()).throw(MemoryError))
    with pytest.raises(MemoryError):
        network(parts[2])
    handle.remove()
    for part in parts:
        network(part)
    first = network.trained.conv1(parts[0]).mean(dim=(2, 3))
    assert torch.allclose(watched.take()["trained.relu_input_0"], first, atol=1e-6)
    network(parts[1])
    assert watched.take() == {}  # nobody asked for this step's


def test_what_fails_is_told_and_the_pass_goes_on() -> None:
    network = Net()
    said: list[Exception] = []
    watched = Activations(network, photos=16)
    watched.failed, watched.watching = said.append, True
    watched._keep = None  # type: ignore[assignment, method-assign]
    assert network(torch.randn(2, 3, 8, 8)).shape == (2, 5)
    assert len(said) == 1
    assert not watched.watching


def test_bfloat16_is_kept_as_float32_and_after_the_end_nothing_is() -> None:
    network = Net()
    watched = Activations(network, photos=16)
    watched.watching = True
    with torch.autocast("cpu", dtype=torch.bfloat16):
        network(torch.randn(2, 3, 8, 8))
    assert {value.dtype for value in watched.take().values()} == {torch.float32}
    watched.watching = True
    watched.close()
    network(torch.randn(2, 3, 8, 8))
    assert watched.take() == {}
