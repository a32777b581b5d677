"""CleanUp, the state after any failure: ends whatever the execution still runs, and deletes what it made and nobody uses.

Runs in AWS Lambda. Called by the state machine with

    {"execution_arn": "arn:…", "start_time": "2026-11-22T16:00:00.123Z", "reason": "…", which only the log is told}

and answers {"stopped": [name], "deleted": [name], "left": [sentence]}. It needs no variable of the state machine, so that it finds all
whatever failed: names begin with the run, and the run follows from the ARN and the start. What cannot be ended is said in `left`, and the
rest is ended all the same. A second call finds less and changes nothing more. Models and endpoint configs stay where the project's endpoint
serves them, or where they belong to the newest deployed version.
"""

import os
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from lambdas.aws.clients import FAULTS, client, is_absent, message_of
from lambdas.aws.endpoint import in_use
from lambdas.aws.jobs import ENDPOINT_CONFIG, MODEL, PROCESSING_JOB, TRAINING_JOB, TUNING_JOB, Kind, end, listed, tuning_jobs_of
from lambdas.aws.log import log
from lambdas.aws.run_names import run_name

Answer = dict[str, list[str]]


def handler(event: Mapping[str, Any], _context: object) -> Answer:
    """Entry point of the Lambda function."""
    project = os.environ["PROJECT"]
    run = run_name(project, event["execution_arn"], datetime.fromisoformat(event["start_time"]))
    answer = clean_up(run, project, client("sagemaker"))
    log("CleanedUp", execution=run, reason=str(event.get("reason") or ""), **answer)
    return answer


def clean_up(run: str, project: str, sagemaker: Any) -> Answer:
    """The answer described above."""
    work = CleaningUp(run, project, sagemaker)
    work.stop_jobs()
    work.delete_unused()
    return {"stopped": work.stopped, "deleted": work.deleted, "left": work.left}


class CleaningUp:
    """One go over what a run made."""

    def __init__(self, run: str, project: str, sagemaker: Any) -> None:
        """Nothing is looked at yet."""
        self.run, self.project, self.sagemaker = run, project, sagemaker
        self.stopped: list[str] = []
        self.deleted: list[str] = []
        self.left: list[str] = []

    def stop_jobs(self) -> None:
        """Tuning jobs first, since they would start new training jobs; with them goes each training job that they started."""
        for kind in (TUNING_JOB, TRAINING_JOB, PROCESSING_JOB):
            try:
                self.stop(kind, self.running(kind))
            except FAULTS as error:
                self.left.append(f"whether {kind.noun}s of {self.run} still run is not known: {message_of(error)}")

    def running(self, kind: Kind) -> list[str]:
        """Of one kind. Rule evaluations, which AWS's Debugger runs as processing jobs, end with the training job that they judge."""
        if kind is TUNING_JOB:
            entries = tuning_jobs_of(self.sagemaker, self.run, StatusEquals="InProgress")
        else:
            prefix = f"{self.run}-{'train' if kind is TRAINING_JOB else 'prepare'}-"
            entries = listed(self.sagemaker, kind, prefix, StatusEquals="InProgress")
        return [entry[kind.name] for entry in entries]

    def stop(self, kind: Kind, names: Iterable[str]) -> None:
        """A job that ended meanwhile cannot be stopped and need not be."""
        for name in names:
            try:
                end(self.sagemaker, kind, name)
                self.stopped.append(name)
            except FAULTS as error:
                if self.may_run(kind, name):
                    self.left.append(f"{kind.noun} {name} still runs and could not be stopped: {message_of(error)}")

    def may_run(self, kind: Kind, name: str) -> bool:
        """Whether it does, or nobody can tell: one that cannot be looked for keeps no other one running."""
        try:
            return name in self.running(kind)
        except FAULTS:
            return True

    def delete_unused(self) -> None:
        """Endpoint configs before the models that they name."""
        try:
            use = in_use(self.sagemaker, self.project)
        except FAULTS as error:
            self.left.append(f"models and endpoint configs of {self.run} stay, since what is served is not known: {message_of(error)}")
            return
        for kind in (ENDPOINT_CONFIG, MODEL):
            try:
                names = [entry[kind.name] for entry in listed(self.sagemaker, kind, f"{self.run}-")]
            except FAULTS as error:
                self.left.append(f"which {kind.noun}s {self.run} left is not known: {message_of(error)}")
                continue
            self.delete(kind, [name for name in names if not use.spares(name)])

    def delete(self, kind: Kind, names: Iterable[str]) -> None:
        """One that somebody else deleted meanwhile is as good as deleted."""
        for name in names:
            try:
                end(self.sagemaker, kind, name)
                self.deleted.append(name)
            except FAULTS as error:
                if not is_absent(error):
                    self.left.append(f"{kind.noun} {name} could not be deleted: {message_of(error)}")
