"""The execution input that `whippet run` sends. Run: `make test`."""

from pathlib import Path

import pytest

from cli.run import build_execution_input, read_input, start_execution
from cli.terminal.errors import RefusedError
from tests.fixtures.cli.executions import FakeServices, Moment
from tests.fixtures.cli.fakes import ARN, target


def test_nothing_asked_for_sends_nothing() -> None:
    assert build_execution_input({}) == {}


def test_fewer_jobs_than_usual_run_at_once_are_all_at_once() -> None:
    assert build_execution_input({}, jobs=2) == {"tuning": {"max_jobs": 2, "max_parallel_jobs": 2}}
    assert build_execution_input({}, jobs=8, parallel=4) == {"tuning": {"max_jobs": 8, "max_parallel_jobs": 4}}


def test_options_lie_over_the_given_input() -> None:
    given = {"seed": 1, "epochs": 20, "tuning": {"lr": [0.01, 0.1], "max_jobs": 9, "max_parallel_jobs": 9}}
    assert build_execution_input(given, jobs=9, epochs=5, seed=2) == {
        "seed": 2,
        "epochs": 5,
        "tuning": {"lr": [0.01, 0.1], "max_jobs": 9, "max_parallel_jobs": 9, "epochs": 5},
    }
    assert given["seed"] == 1


def test_options_of_the_first_level_are_named_as_in_the_input() -> None:
    assert build_execution_input({"trainable": "all"}, trainable="last_stage", spot=True) == {"trainable": "last_stage", "spot": True}
    assert build_execution_input({"spot": True}, trainable=None, spot=False) == {"spot": False}


def test_the_input_may_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "input.json").write_text('{"seed": 7}')
    assert read_input(str(tmp_path / "input.json")) == {"seed": 7}


@pytest.mark.parametrize(("given", "sentence"), [("nothing.json", "neither an existing file"), ("{seed: 7}", "not valid JSON")])
def test_what_is_no_input_is_refused(given: str, sentence: str) -> None:
    with pytest.raises(RefusedError, match=sentence):
        read_input(given)


def test_a_list_is_no_input(tmp_path: Path) -> None:
    (tmp_path / "input.json").write_text("[1]")
    with pytest.raises(RefusedError, match="must be a JSON object"):
        read_input(str(tmp_path / "input.json"))


def test_the_state_machine_is_started_with_it() -> None:
    services = FakeServices([Moment()])
    assert start_execution(target(**services.clients()), {"seed": 7}) == ARN
    assert services.started == [{"seed": 7}]
