"""The numbers that are kept of a tensor are the tensor's, however it lies in memory. Run: `make test`."""

import pytest
import torch

from training.hook import usual_reductions


@pytest.mark.parametrize(
    "tensor",
    [
        torch.randn(6, 5, 3, 3, generator=torch.Generator().manual_seed(1)).contiguous(memory_format=torch.channels_last),
        torch.randn(6, 5, generator=torch.Generator().manual_seed(2)).t(),
        torch.randn(7, generator=torch.Generator().manual_seed(3)).bfloat16(),
        torch.full((1000,), 1.0) + 1e-3 * torch.randn(1000, generator=torch.Generator().manual_seed(4)),
    ],
    ids=["channels_last", "transposed", "bfloat16", "nearly constant"],
)
def test_reductions_are_the_tensors(tensor: torch.Tensor) -> None:
    values = tensor.double()
    expected = {
        ("min", False): values.min(),
        ("max", False): values.max(),
        ("mean", False): values.mean(),
        ("std", False): values.std(),
        ("mean", True): values.abs().mean(),
        ("l2", False): values.norm(),
    }
    found = usual_reductions(tensor)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].item() == pytest.approx(value.item(), rel=1e-4, abs=1e-7), name


def test_one_number_has_no_deviation_and_what_is_no_number_shows() -> None:
    assert usual_reductions(torch.tensor([3.0]))["std", False] == 0
    assert usual_reductions(torch.tensor([1.0, float("nan")]))["min", False].isnan()
