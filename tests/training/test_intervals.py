"""Every epoch is judged however short, and the whole stays within the budget however long. Run: `make test`."""

import pytest

from training.intervals import BUDGET, BYTES_A_REDUCTION, Intervals, intervals

RESNET_LAST_STAGE = {"reductions": 318, "channels": 18432}
RESNET = {"reductions": 1620, "channels": 45440}
HEAD = {"reductions": 18, "channels": 0}


def of(epochs: int, steps: int, numbers: dict[str, int] = HEAD) -> Intervals:
    return intervals(head_only=numbers is HEAD, epochs=epochs, steps_per_epoch=steps, **numbers)


def test_an_epoch_of_thirteen_steps_is_saved_four_times_and_each_of_its_losses() -> None:
    assert of(20, 13) == Intervals(losses=1, parameters=4, activations=7, photos=16)
    assert of(20, 13, RESNET_LAST_STAGE) == Intervals(losses=1, parameters=4, activations=13, photos=11)


def test_every_loss_of_fine_tuning_is_saved_and_fifty_an_epoch_of_a_head() -> None:
    assert of(20, 104, RESNET_LAST_STAGE).losses == 1
    assert of(20, 104).losses == 3


@pytest.mark.parametrize("numbers", [HEAD, RESNET_LAST_STAGE, RESNET])
@pytest.mark.parametrize("epochs", [1, 20, 1000])
@pytest.mark.parametrize("steps", [1, 13, 104, 5000])
def test_the_whole_run_stays_within_its_budget(epochs: int, steps: int, numbers: dict[str, int]) -> None:
    every = of(epochs, steps, numbers)
    saves = {name: -(-epochs * steps // getattr(every, name)) for name in ("losses", "parameters", "activations")}
    spent = saves["losses"] * 1024 + saves["parameters"] * numbers["reductions"] * BYTES_A_REDUCTION
    spent += saves["activations"] * every.photos * numbers["channels"] * 4
    assert spent <= BUDGET
    assert every.activations % every.losses == 0
    assert all(interval >= 1 for interval in (every.losses, every.parameters, every.activations, every.photos))
