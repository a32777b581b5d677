"""An execution read and shown, from its start to a good or bad end. Run: `make test`."""

import io
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import typer
from rich.console import Console

from cli.executions.execution import Activity, build_run_name, read_activity, read_execution
from cli.executions.watch_view import DURATION_WIDTH, format_activity, format_duration, render_execution
from cli.watch import follow, follow_or_leave, print_end
from stacks.state_machine.definition import definition
from tests.fixtures.cli.executions import (
    FINAL_JOB,
    KEPT_BACK,
    OUTPUT,
    PROCESSING_JOB,
    REASON,
    TUNING_JOB,
    FakeServices,
    Moment,
    entered,
    exited,
    second,
    trial,
)
from tests.fixtures.cli.fakes import ARN, PREFIX, START, FakeMachine, target

STARTED = [entered("PrepareExecution", 0), exited("PrepareExecution", 2)]
READING = [*STARTED, entered("IsDatasetPrepared", 2), exited("IsDatasetPrepared", 2), entered("PrepareDataset", 2)]
PREPARED = [*STARTED, entered("IsDatasetPrepared", 2), exited("IsDatasetPrepared", 2), entered("TuneHyperparameters", 2)]
TUNED = [*PREPARED, exited("TuneHyperparameters", 40), entered("HasBest", 40), exited("HasBest", 40), entered("TrainModel", 40)]
PROCESSING = {"ProcessingJobName": PROCESSING_JOB, "ProcessingJobStatus": "InProgress", "CreationTime": second(2)}
FINAL = {"TrainingJobName": FINAL_JOB, "TrainingJobStatus": "InProgress", "CreationTime": second(40)}
WAITED = [entered("WaitForEndpoint", 60), exited("WaitForEndpoint", 62), entered("WaitForEndpoint", 63), exited("WaitForEndpoint", 66)]
LOG = [
    "12 of 20 files read, 6.0 a second",
    "[metric] train:loss=0.700000",
    "epoch 1: 0.10 s",
    "[metric] train:loss=0.500000",
    "[metric] valid:loss=6.0e-01",
    "epoch 2: 0.10 s",
]


def paper() -> Console:
    return Console(file=io.StringIO(), width=120, force_terminal=False)


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_states_in_order_with_those_that_must_still_come() -> None:
    services = FakeServices([Moment(events=PREPARED)])
    execution = read_execution(target(**services.clients()), ARN)
    assert [(state.name, state.status) for state in execution.states] == [
        ("PrepareExecution", "succeeded"),
        ("PrepareDataset", "skipped"),
        ("TuneHyperparameters", "running"),
        ("TrainModel", "waiting"),
        ("AssessModel", "waiting"),
        ("DescribeEndpoint", "waiting"),
        ("WaitForEndpoint", "waiting"),
    ]
    assert execution.states[0].seconds == 2


def test_visits_of_the_same_state_add_up() -> None:
    services = FakeServices([Moment("SUCCEEDED", [*TUNED, exited("TrainModel", 60), *WAITED])])
    execution = read_execution(target(**services.clients()), ARN)
    assert {state.name: state.seconds for state in execution.states}["WaitForEndpoint"] == 5
    assert {state.status for state in execution.states if state.name != "PrepareDataset"} == {"succeeded"}
    assert (execution.seconds, execution.output["endpoint"]) == (100, "whippet")


def test_what_has_not_ended_is_timed_to_the_moment_of_the_look() -> None:
    """Whatever the date is: the clock is the target's."""
    there = target(**FakeServices([Moment(events=TUNED, trials=[trial(1, "InProgress")], training=[FINAL])]).clients())
    execution = read_execution(replace(there, now=lambda: START + timedelta(hours=3)), ARN)
    assert execution.training is not None
    assert (execution.seconds, execution.training.seconds) == (10_800, 10_760)
    assert {state.name: state.seconds for state in execution.states if state.status == "running"} == {"TrainModel": 10_760}
    console = paper()
    console.print(render_execution(execution))
    assert "running  3 h 00 min\n" in written(console)


def test_the_jobs_are_told_apart_and_the_best_is_known() -> None:
    trials = [trial(1, objective=0.9), trial(2, objective=0.6), trial(3, "Failed", None), trial(4, "InProgress", None)]
    services = FakeServices([Moment(events=TUNED, trials=trials, training=[FINAL], log=LOG)])
    execution = read_execution(target(**services.clients()), ARN)
    assert execution.best is not None
    assert (execution.best.name, execution.best.lr, execution.best.batch_size) == (f"{TUNING_JOB}-002-aaaa", 0.01, 32)
    assert execution.training is not None
    assert execution.training.name == FINAL_JOB
    assert execution.activity == Activity(2, {"train:loss": 0.5, "valid:loss": 0.6}, LOG[0])


def test_the_final_job_of_a_large_tuning_job_is_found_in_few_calls() -> None:
    trials = [trial(number) for number in range(1, 181)]
    services = FakeServices([Moment(events=TUNED * 30, trials=trials, training=[FINAL])])
    execution = read_execution(target(**services.clients()), ARN)
    assert len(execution.trials) == 180
    assert execution.training is not None
    assert execution.training.name == FINAL_JOB
    assert services.answers == 4, "one page of events, one of tuning jobs, two of training jobs"


def test_of_a_state_that_was_tried_again_the_last_job_counts() -> None:
    again = FINAL | {"TrainingJobName": f"{FINAL_JOB[:-1]}9", "CreationTime": second(50)}
    of_another = FINAL | {"TrainingJobName": f"my-{FINAL_JOB}", "CreationTime": second(60)}
    services = FakeServices([Moment(events=TUNED, trials=[trial(1)], training=[FINAL, again, of_another])])
    training = read_execution(target(**services.clients()), ARN).training
    assert training is not None
    assert training.name == again["TrainingJobName"]


def test_the_definition_is_asked_for_once() -> None:
    for console in (paper(), Console(file=io.StringIO(), width=120, force_terminal=True)):
        services = FakeServices([Moment(events=PREPARED), Moment(events=TUNED), Moment("SUCCEEDED", TUNED)])
        follow(console, target(**services.clients()), ARN, sleep=lambda seconds: None)
        assert (services.looks, services.definitions) == (3, 1)


def test_the_run_is_named_as_the_first_state_names_it() -> None:
    assert build_run_name("whippet", ARN, START).startswith(PREFIX)
    assert len(build_run_name("whippet", ARN, START)) == len(PREFIX) + 4


def test_a_job_says_where_it_is() -> None:
    assert format_activity(read_activity([])) == "starting"
    assert format_activity(read_activity(LOG[:1])) == LOG[0]
    assert format_activity(read_activity(LOG)) == "epoch 2   train loss 0.500   valid loss 0.600"


def test_lines_are_written_once_for_each_change() -> None:
    moments = [
        Moment(events=PREPARED),
        Moment(events=PREPARED, trials=[trial(1, "InProgress", None)]),
        Moment(events=PREPARED, trials=[trial(1, "InProgress", None)]),
        Moment(events=TUNED, trials=[trial(1)], training=[FINAL], log=LOG),
        Moment("SUCCEEDED", [*TUNED, exited("TrainModel", 60)], [trial(1)]),
    ]
    console = paper()
    execution = follow(console, target(**FakeServices(moments).clients()), ARN, sleep=lambda seconds: None)
    lines = [line[DURATION_WIDTH + 2 :] for line in written(console).splitlines()]
    assert lines == [
        "✓ PrepareExecution succeeded after 2.0 s",
        "· PrepareDataset skipped",
        "● TuneHyperparameters running",
        "    lr 0.01  batch size 32  running",
        "    lr 0.01  batch size 32  validation loss 0.7000  done after 1.0 s",
        "✓ TuneHyperparameters succeeded after 38 s",
        "● TrainModel running",
        "    epoch 2   train loss 0.500   valid loss 0.600",
        "✓ TrainModel succeeded after 20 s",
    ]
    assert execution.status == "SUCCEEDED"


def test_a_data_set_that_is_being_prepared_says_how_far_it_is() -> None:
    done = PROCESSING | {"ProcessingJobStatus": "Completed"}
    tuning = [*READING, exited("PrepareDataset", 30), entered("TuneHyperparameters", 30)]
    moments = [
        Moment(events=READING),
        Moment(events=READING, processing=[PROCESSING]),
        Moment(events=READING, processing=[PROCESSING], log=LOG[:1]),
        Moment(events=READING, processing=[PROCESSING], log=["20 of 20 files read, 6.1 a second"]),
        Moment(events=tuning, processing=[done]),
        Moment(events=tuning, processing=[done]),
        Moment("SUCCEEDED", [*tuning, exited("TuneHyperparameters", 60)], processing=[done]),
    ]
    services, console = FakeServices(moments), paper()
    follow(console, target(**services.clients()), ARN, sleep=lambda seconds: None)
    assert [line[DURATION_WIDTH + 2 :] for line in written(console).splitlines()] == [
        "✓ PrepareExecution succeeded after 2.0 s",
        "● PrepareDataset running",
        "    12 of 20 files read, 6.0 a second",
        "    20 of 20 files read, 6.1 a second",
        "✓ PrepareDataset succeeded after 28 s",
        "● TuneHyperparameters running",
        "✓ TuneHyperparameters succeeded after 30 s",
    ]
    assert services.processing_lists == 5, "a job that is completed is not asked for again"


def test_the_data_set_is_in_the_picture_whether_it_is_prepared_or_skipped() -> None:
    reading = Moment(events=READING, processing=[PROCESSING], log=LOG[:1])
    for moment, part in ((reading, f"    {LOG[0]}"), (Moment(events=PREPARED), "· PrepareDataset              skipped")):
        console = paper()
        console.print(render_execution(read_execution(target(**FakeServices([moment]).clients()), ARN)))
        assert part in written(console)


def test_a_terminal_gets_the_picture() -> None:
    services = FakeServices([Moment(events=TUNED, trials=[trial(1, objective=0.9), trial(2, objective=0.6)], training=[FINAL], log=LOG)])
    console = paper()
    console.print(render_execution(read_execution(target(**services.clients()), ARN)))
    text = written(console)
    for part in ("✓ TuneHyperparameters", "0.6000", "best", "● TrainModel", "epoch 2", "○ WaitForEndpoint"):
        assert part in text


def test_a_live_display_ends_with_the_execution() -> None:
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    services = FakeServices([Moment(events=PREPARED), Moment("SUCCEEDED", TUNED)])
    assert follow(console, target(**services.clients()), ARN, sleep=lambda seconds: None).status == "SUCCEEDED"


def test_a_failure_shows_the_cause_and_the_end_of_the_log() -> None:
    cause = "TuneHyperparameters failed (tuning job x): all training jobs failed. Log: CloudWatch log group y."
    ending = [entered("FindFailedTrainingJob", 9), exited("FindFailedTrainingJob", 9), entered("ExecutionFailed", 9)]
    failed = Moment("FAILED", [*PREPARED, *ending], [trial(1, "Failed", None)], log=["one", "the reason"], cause=cause)
    watched, console = target(**FakeServices([failed]).clients()), paper()
    execution = follow_or_leave(console, watched, ARN)
    assert {state.name: state.status for state in execution.states}["TuneHyperparameters"] == "failed"
    text = written(console)
    assert cause in text
    assert "ExecutionFailed" not in text, "the state by which it ends failed as it should, which would read as a success"
    assert f"log of training job {TUNING_JOB}-001-aaaa" in text
    assert text.endswith("  the reason\n")


def test_a_data_set_that_cannot_be_prepared_shows_the_cause_and_the_end_of_the_log() -> None:
    cause = "PrepareDataset failed (processing job x): 3 of 20 files are no photos."
    job = PROCESSING | {"ProcessingJobStatus": "Failed"}
    failed = Moment("FAILED", READING, processing=[job], log=["left out 'rook/9.jpg': these are words"], cause=cause)
    console = paper()
    execution = follow_or_leave(console, target(**FakeServices([failed]).clients()), ARN)
    assert {state.name: state.status for state in execution.states}["PrepareDataset"] == "failed"
    text = written(console)
    assert cause in text
    assert f"log of processing job {PROCESSING_JOB}" in text
    assert text.endswith("these are words\n")


def test_the_description_of_a_job_becomes_its_reason() -> None:
    cause = json.dumps({"TrainingJobName": "x", "FailureReason": "AlgorithmError: no photos"})
    console = paper()
    watched = target(**FakeServices([Moment("FAILED", PREPARED, cause=cause)]).clients())
    print_end(console, watched, read_execution(watched, ARN))
    assert "after 1:40: AlgorithmError: no photos" in written(console)


STARTED_MANAGED = [*PREPARED, exited("TuneHyperparameters", 40), entered("TrainModelManaged", 40), exited("TrainModelManaged", 41)]
MANAGED = [*STARTED_MANAGED, entered("WaitForTraining", 41)]
JUDGING = [*MANAGED, exited("WaitForTraining", 60), entered("DescribeTraining", 60), exited("DescribeTraining", 61)]


def test_with_awss_debugger_its_states_are_those_to_come() -> None:
    managed = Moment(events=PREPARED, input={"debugger": "managed"})
    execution = read_execution(target(**FakeServices([managed]).clients()), ARN)
    assert [state.name for state in execution.states if state.status == "waiting"] == [
        "TrainModelManaged",
        "WaitForTraining",
        "DescribeTraining",
        "AssessModel",
        "DescribeEndpoint",
        "WaitForEndpoint",
    ]


def test_a_training_job_with_awss_debugger_says_where_it_is() -> None:
    moment = Moment(events=MANAGED, training=[FINAL], log=LOG, input={"debugger": "managed"})
    console = paper()
    console.print(render_execution(read_execution(target(**FakeServices([moment]).clients()), ARN)))
    assert "● WaitForTraining" in written(console)
    assert "epoch 2   train loss 0.500" in written(console)


def test_rules_that_go_on_after_the_job_are_counted() -> None:
    job = FINAL | {"TrainingJobStatus": "Completed"}
    rules = [("Overfit", "NoIssuesFound"), ("ProfilerReport", "InProgress"), ("BatchSize", "Stopping")]
    judging = Moment(events=[*JUDGING, entered("WaitForRules", 61)], training=[job], rules=rules, input={"debugger": "managed"})
    done = Moment("SUCCEEDED", [*JUDGING, entered("WaitForRules", 61), exited("WaitForRules", 76)], training=[job])
    console, watched = paper(), target(**FakeServices([judging, done]).clients())
    follow(console, watched, ARN, sleep=lambda seconds: None)
    lines = [line[DURATION_WIDTH + 2 :] for line in written(console).splitlines()]
    assert lines[-3:] == [
        "● WaitForRules running",
        "    1 of 3 rules evaluated; running: ProfilerReport, BatchSize",
        "✓ WaitForRules succeeded after 15 s",
    ]
    console = paper()
    console.print(render_execution(read_execution(target(**FakeServices([judging]).clients()), ARN)))
    assert "1 of 3 rules evaluated" in written(console)


def test_states_that_take_turns_are_said_once() -> None:
    waiting, looking = entered("WaitForTraining", 62), entered("DescribeTraining", 61)
    loop = [*MANAGED, exited("WaitForTraining", 60), looking, exited("DescribeTraining", 62), waiting, exited("WaitForTraining", 70)]
    over = [*loop, entered("AssessModel", 70)]
    moments = [Moment(events=events, input={"debugger": "managed"}) for events in (loop[:-5], loop[:-3], loop[:-2], loop[:-1], loop, over)]
    console = paper()
    follow(console, target(**FakeServices([*moments, Moment("SUCCEEDED", over)]).clients()), ARN, sleep=lambda seconds: None)
    said = [line[DURATION_WIDTH + 2 :] for line in written(console).splitlines()]
    lines = [line for line in said if "WaitForTraining" in line or "DescribeTraining" in line]
    assert lines == [
        "● WaitForTraining running",
        "● DescribeTraining running",
        "✓ WaitForTraining succeeded after 27 s",
        "✓ DescribeTraining succeeded after 1.0 s",
    ]


TRAINED = ["PrepareExecution", "TuneHyperparameters", "TrainModel", "AssessModel", "RegisterModel"]
APPROVED = ["AskForApproval", "WaitForApproval", "DescribeModelPackage"]
DEPLOYED = ["CreateModel", "CreateEndpointConfig", "DescribeEndpoint", "WaitForEndpoint", "CheckEndpoint", "VerifyEndpoint"]
CLOSED = ["PublishReport", "NotifyDone"]


@pytest.mark.parametrize(
    ("given", "ahead"),
    [
        ({}, [*TRAINED, *DEPLOYED, "RecordDeployment", "PruneModels", *CLOSED]),
        ({"approval": "manual"}, [*TRAINED, *APPROVED, *DEPLOYED, "RecordDeployment", "PruneModels", *CLOSED]),
        ({"deployment": {"kind": "none"}}, [*TRAINED, *CLOSED]),
    ],
)
def test_what_lies_ahead_is_what_the_input_asks_for(given: dict[str, Any], ahead: list[str]) -> None:
    """By the deployed state machine itself, whose ways around a failure are many."""

    class Deployed(FakeServices):
        def describe_state_machine(self, **arguments: str) -> dict[str, Any]:
            return {"definition": json.dumps(definition())}

    execution = read_execution(target(**Deployed([Moment(input=given)]).clients()), ARN)
    assert [state.name for state in execution.states if state.status == "waiting"] == ahead


def test_waiting_for_a_person_fills_no_log() -> None:
    """Seven days of looks, of which each would be two lines."""
    looks = [*TUNED, exited("TrainModel", 60)]
    moments = []
    for at in range(61, 81, 2):
        for event in (entered("WaitForEndpoint", at), exited("WaitForEndpoint", at + 1)):
            looks.append(event)
            moments.append(Moment(events=list(looks)))
    console = paper()
    follow(console, target(**FakeServices([*moments, Moment("SUCCEEDED", looks)]).clients()), ARN, sleep=lambda seconds: None)
    said = [line.partition("WaitForEndpoint ")[2] for line in written(console).splitlines() if "WaitForEndpoint" in line]
    assert said == ["running", "succeeded after 10 s"]


def test_an_execution_that_deploys_nothing_says_why() -> None:
    events = [*TUNED, exited("TrainModel", 60), entered("AssessModel", 60), exited("AssessModel", 61), entered("NotDeployed", 61)]
    ended = Moment("SUCCEEDED", [*events, exited("NotDeployed", 61)], output=KEPT_BACK)
    watched, console = target(FakeMachine(), **FakeServices([ended]).clients()), paper()
    execution = follow_or_leave(console, watched, ARN)
    assert (execution.deployed, execution.rejection_reasons) == (False, [REASON])
    text = written(console)
    for part in ("▲ NotDeployed: the endpoint stays as it is", "its model was not deployed", f"▲ {REASON}", "whippet report --local"):
        assert part in text
    assert "whippet predict" not in text
    console = paper()
    console.print(render_execution(execution))
    assert "▲ NotDeployed               the endpoint stays as it is" in written(console)


def test_the_end_tells_what_the_rules_said() -> None:
    warned = OUTPUT | {"warnings": ["rule UnchangedTensor gave no verdict"]}
    watched, console = target(**FakeServices([Moment("SUCCEEDED", TUNED, output=warned)]).clients()), paper()
    print_end(console, watched, read_execution(watched, ARN))
    text = written(console)
    for part in (
        "debugger rules    1 with issues",
        "▲ Overfit  the condition was met twice",
        "profiler rules    1 without issues",
        "▲ rule UnchangedTensor gave",
    ):
        assert part in text
    assert "Next: whippet predict PHOTO" in text


def test_an_execution_from_before_there_were_verdicts_was_deployed() -> None:
    old = {name: OUTPUT[name] for name in ("run", "endpoint", "best", "report")}
    watched, console = target(**FakeServices([Moment("SUCCEEDED", TUNED, output=old)]).clients()), paper()
    execution = read_execution(watched, ARN)
    print_end(console, watched, execution)
    assert (execution.deployed, execution.rejection_reasons) == (True, None)
    assert "rules" not in written(console)


def test_an_execution_that_failed_deployed_nothing() -> None:
    execution = read_execution(target(**FakeServices([Moment("FAILED", TUNED)]).clients()), ARN)
    assert (execution.deployed, execution.rejection_reasons) == (False, None)


def test_leaving_says_how_to_come_back() -> None:
    class Interrupted(FakeServices):
        def describe_execution(self, **arguments: str) -> dict[str, object]:
            raise KeyboardInterrupt

    console = paper()
    with pytest.raises(typer.Exit):
        follow_or_leave(console, target(**Interrupted([Moment()]).clients()), ARN)
    assert "The execution continues. Resume watching with whippet watch" in written(console)


DURATIONS = [
    (0.04, "0.0 s"),
    (9.96, "10.0 s"),
    (59.9, "59 s"),
    (185, "3:05"),
    (3599.9, "59:59"),
    (3600, "1 h 00 min"),
    (11_100, "3 h 05 min"),
    (86_399, "23 h 59 min"),
]


@pytest.mark.parametrize(("seconds", "text"), DURATIONS)
def test_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
    assert len(text) <= DURATION_WIDTH
