"""`.sync` tasks and a plane that loses answers, fails for a moment or is away: no job goes on that nobody watches."""

import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from local.engine.plane_client import PlaneClient, PlaneNotListeningError, PlaneUnreachableError
from local.engine.sync_tasks import SyncTasks, TaskFailedError
from tests.fixtures.local.scripted_plane import ScriptedPlane


def train(plane: ScriptedPlane, notes: Path) -> dict[str, Any]:
    tasks = SyncTasks(plane, notes, sleep=lambda _seconds: None)
    return tasks.run("createTrainingJob.sync", {"TrainingJobName": "job"}, lambda: None)


RUNNING = (200, {"TrainingJobStatus": "InProgress"})
BROKEN = (500, {"__type": "InternalFailure", "message": "the disk is full"})


def test_a_job_that_ends_is_returned_and_not_stopped(tmp_path: Path) -> None:
    plane = ScriptedPlane(CreateTrainingJob=[(200, {})], DescribeTrainingJob=[RUNNING, (200, {"TrainingJobStatus": "Completed"})])
    assert train(plane, tmp_path) == {"TrainingJobStatus": "Completed"}
    assert plane.called == ["CreateTrainingJob", "DescribeTrainingJob", "DescribeTrainingJob"] and list(tmp_path.iterdir()) == []


def test_a_job_that_cannot_be_watched_any_more_is_stopped(tmp_path: Path) -> None:
    plane = ScriptedPlane(CreateTrainingJob=[(200, {})], DescribeTrainingJob=[RUNNING, BROKEN], StopTrainingJob=[(200, {})])
    with pytest.raises(TaskFailedError, match="the disk is full"):
        train(plane, tmp_path)
    assert plane.called[-1] == "StopTrainingJob" and list(tmp_path.iterdir()) == []


def test_a_job_that_cannot_be_stopped_stays_noted_for_the_next_engine(tmp_path: Path) -> None:
    gone = PlaneUnreachableError("gone")
    plane = ScriptedPlane(CreateTrainingJob=[(200, {})], DescribeTrainingJob=[gone], StopTrainingJob=[gone, (200, {})])
    with pytest.raises(TaskFailedError, match="gone"):
        train(plane, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["TrainingJobName-job.json"]
    SyncTasks(plane, tmp_path).stop_left_over()
    assert plane.called[-2:] == ["StopTrainingJob", "StopTrainingJob"] and list(tmp_path.iterdir()) == []


def test_a_job_whose_answer_was_lost_is_stopped(tmp_path: Path) -> None:
    plane = ScriptedPlane(CreateTrainingJob=[PlaneUnreachableError("lost")], StopTrainingJob=[(200, {})])
    with pytest.raises(TaskFailedError, match="lost"):
        train(plane, tmp_path)
    assert plane.called == ["CreateTrainingJob", "StopTrainingJob"]


def test_a_job_that_was_never_asked_for_is_not_stopped(tmp_path: Path) -> None:
    plane = ScriptedPlane(CreateTrainingJob=[PlaneNotListeningError("away")])
    with pytest.raises(TaskFailedError, match="away"):
        train(plane, tmp_path)
    assert plane.called == ["CreateTrainingJob"]


def test_somebody_elses_job_of_the_same_name_is_left_alone(tmp_path: Path) -> None:
    plane = ScriptedPlane(CreateTrainingJob=[(400, {"__type": "ResourceInUse", "message": "names must be unique"})])
    with pytest.raises(TaskFailedError, match="names must be unique"):
        train(plane, tmp_path)
    assert plane.called == ["CreateTrainingJob"]


def test_a_processing_job_is_watched_and_stopped_as_the_others_are(tmp_path: Path) -> None:
    running, failed = {"ProcessingJobStatus": "InProgress"}, {"ProcessingJobStatus": "Failed", "ExitMessage": "no photos"}
    plane = ScriptedPlane(CreateProcessingJob=[(200, {})] * 2, DescribeProcessingJob=[(200, running), (200, failed), (200, running)])
    plane.answers["StopProcessingJob"] = [(200, {})]
    tasks = SyncTasks(plane, tmp_path, sleep=lambda _seconds: None)
    with pytest.raises(TaskFailedError, match="no photos") as caught:
        tasks.run("createProcessingJob.sync", {"ProcessingJobName": "job"}, lambda: None)
    assert caught.value.error == "States.TaskFailed" and "StopProcessingJob" not in plane.called
    wishes = iter([None, "the execution is ABORTED"])
    with pytest.raises(TaskFailedError, match="job was stopped: the execution is ABORTED"):
        tasks.run("createProcessingJob.sync", {"ProcessingJobName": "job"}, lambda: next(wishes))
    assert plane.called[-1] == "StopProcessingJob" and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("broken", ["", "{", "[]", "{}"])
def test_a_broken_note_does_not_keep_the_others_from_being_stopped(tmp_path: Path, broken: str) -> None:
    (tmp_path / "a.json").write_text(broken)
    (tmp_path / "b.json").write_text(json.dumps({"stop": "StopTrainingJob", "request": {"TrainingJobName": "b"}}))
    plane = ScriptedPlane(StopTrainingJob=[(200, {})])
    SyncTasks(plane, tmp_path).stop_left_over()
    assert plane.called == ["StopTrainingJob"] and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("operation", "requests"), [("CreateTrainingJob", 1), ("DescribeTrainingJob", 2)])
def test_only_what_changes_nothing_is_sent_again_after_a_lost_answer(operation: str, requests: int) -> None:
    """The plane takes each request and hangs up; the second time it answers."""
    taken = 0

    def serve(listening: socket.socket) -> None:
        nonlocal taken
        for answer in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"):
            try:
                connection, _address = listening.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                taken += 1
                connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(3)
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        client = PlaneClient(lambda: f"http://127.0.0.1:{listening.getsockname()[1]}", sleep=lambda _seconds: None)
        if requests == 1:
            with pytest.raises(PlaneUnreachableError, match="does not answer"):
                client.call(operation, {})
        else:
            assert client.call(operation, {}).status == 200
        thread.join()
    assert taken == requests


def test_a_plane_that_is_away_for_a_moment_is_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    waits: list[float] = []
    with pytest.raises(PlaneNotListeningError, match="does not run"):
        PlaneClient(lambda: f"http://127.0.0.1:{port}", patience_s=0.2, sleep=waits.append).call("CreateTrainingJob", {})
    assert len(waits) > 1
