"""torchvision works beside any torch. Run: `make test`."""

import torch

from training.network.torchvision_repairs import import_torchvision


def test_torchvision_builds_networks_whatever_its_library() -> None:
    models = import_torchvision()
    assert models is import_torchvision()
    assert models.resnet18(weights=None).eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 1000)
