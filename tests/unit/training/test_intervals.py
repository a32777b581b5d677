"""Every epoch is judged however short, and the whole stays within the budget however long. Run: `make test`."""

import pytest
import torch

from training.contract.rules import job_parameters
from training.debugger.intervals import (
    BUDGET,
    BYTES_A_REDUCTION,
    LOSSES_IN_RUN,
    MOST_ROWS,
    MOST_SHOWN,
    Intervals,
    class_type,
    compute_intervals,
)

RESNET_LAST_STAGE = {"reductions": 318, "channels": 18432}
RESNET = {"reductions": 1620, "channels": 45440}
HEAD = {"reductions": 18, "channels": 0}


def of(epochs: int, steps: int, numbers: dict[str, int] = HEAD) -> Intervals:
    return compute_intervals(head_only=numbers is HEAD, epochs=epochs, steps_per_epoch=steps, evaluated=10**6, classes=1000, **numbers)


def test_an_epoch_of_thirteen_steps_is_saved_and_each_of_its_losses() -> None:
    assert of(20, 13) == Intervals(losses=1, parameters=7, activations=7, photos=16, predictions=1)
    assert of(20, 13, RESNET_LAST_STAGE) == Intervals(losses=1, parameters=4, activations=13, photos=11, predictions=1)


@pytest.mark.parametrize("epochs", range(1, 31))
def test_a_head_is_saved_often_enough_for_the_rule_that_compares_its_weights(epochs: int) -> None:
    needed = int(job_parameters("UnchangedTensor", epochs)["num_steps"])
    for steps in range(3, 200):
        assert -(-epochs * steps // of(epochs, steps).parameters) >= needed, steps


def test_every_loss_of_fine_tuning_is_saved_and_two_dozen_an_epoch_of_a_head() -> None:
    assert of(20, 104, RESNET_LAST_STAGE).losses == 1
    assert of(20, 104) == Intervals(losses=4, parameters=52, activations=52, photos=16, predictions=1)


@pytest.mark.parametrize("numbers", [HEAD, RESNET_LAST_STAGE, RESNET])
@pytest.mark.parametrize("epochs", [1, 20, 1000])
@pytest.mark.parametrize("steps", [1, 13, 104, 5000])
def test_the_whole_run_stays_within_its_budget(epochs: int, steps: int, numbers: dict[str, int]) -> None:
    every = of(epochs, steps, numbers)
    saves = {name: -(-epochs * steps // getattr(every, name)) for name in ("losses", "parameters", "activations")}
    spent = saves["losses"] * 1024 + saves["parameters"] * numbers["reductions"] * BYTES_A_REDUCTION
    spent += saves["activations"] * every.photos * numbers["channels"] * 4
    spent += -(-epochs // every.predictions) * (2 * 4 * MOST_ROWS + 12 * MOST_SHOWN)
    assert spent <= BUDGET
    assert saves["losses"] <= LOSSES_IN_RUN
    assert every.activations % every.losses == every.parameters % every.losses == 0  # so that no other step has files
    assert all(interval >= 1 for interval in (every.losses, every.parameters, every.activations, every.photos))


def test_answers_of_many_photos_and_epochs_are_not_those_of_each_evaluation() -> None:
    assert of(20, 104).predictions == 1
    assert of(1000, 104).predictions == 21


@pytest.mark.parametrize("classes", [2, 256, 257, 2**15 + 1])
def test_a_class_is_saved_in_a_type_that_holds_it(classes: int) -> None:
    last = torch.tensor(classes - 1)
    assert last.to(class_type(classes)).item() == classes - 1
    assert class_type(classes).itemsize <= (1 if classes <= 256 else 4)
