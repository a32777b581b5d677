"""A schedule names exactly the steps that smdebug itself would save. Run: `make test`."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smdebug import SaveConfig, SaveConfigMode, modes

from training.debugger.intervals import NEVER
from training.debugger.schedule import AHEAD, Schedule, find_next_saved_step

STEPS = 2 * AHEAD

CONFIGURATIONS = st.builds(
    SaveConfigMode,
    save_interval=st.integers(1, 25),
    start_step=st.integers(0, 40),
    end_step=st.none() | st.integers(0, 50),
    save_steps=st.lists(st.integers(0, STEPS), max_size=3),
)


@dataclass(frozen=True)
class Collection:
    """As much of one of smdebug's as a schedule looks at."""

    name: str
    save_config: Any = field(hash=False)


@given(CONFIGURATIONS, st.integers(0, STEPS))
def test_the_next_saved_step_is_the_first_that_smdebug_would_save(configuration: Any, step: int) -> None:
    expected = next((each for each in range(step, 2 * STEPS) if configuration.should_save_step(each)), NEVER)
    assert find_next_saved_step(configuration, step) == expected


@given(st.lists(CONFIGURATIONS, max_size=4), st.integers(0, STEPS))
def test_each_step_takes_the_collections_that_smdebug_would_save(configurations: list[Any], first: int) -> None:
    collections = [Collection(str(each), SaveConfig(dict.fromkeys(modes, one))) for each, one in enumerate(configurations)]
    schedule = Schedule(collections, modes.TRAIN, first)
    for step in range(first, first + STEPS):
        expected = {each for each in collections if each.save_config.should_save_step(modes.TRAIN, step)}
        assert (schedule.next == step) == bool(expected)
        if expected:
            assert schedule.take() == expected


@pytest.mark.parametrize("mode", [modes.TRAIN, modes.EVAL, modes.PREDICT, modes.GLOBAL], ids=str)
def test_an_evaluation_saves_no_gradients(mode: Any) -> None:
    always = SaveConfig(dict.fromkeys(modes, SaveConfigMode(save_interval=1)))
    schedule = Schedule([Collection(name, always) for name in ("losses", "gradients", "optimizer_variables")], mode, 0)
    kept = {"losses"} if mode in (modes.EVAL, modes.PREDICT) else {"losses", "gradients", "optimizer_variables"}
    assert {each.name for each in schedule.take()} == kept
