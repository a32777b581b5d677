"""Snapshots of the engine's state: whole or not at all."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from local.engine.snapshots import Snapshots, list_ownerless
from tests.fixtures.local.running import wait_until


class Engine:
    """A state of two services, and whether a deployment is going on."""

    def __init__(self) -> None:
        self.states: dict[str, Any] = {"s3": {"n": 1}, "iam": {"n": 1}}
        self.quiet = True
        self.breaking = False

    def read(self, service: str) -> Any:
        if self.breaking and service == "iam":
            raise RuntimeError("dictionary changed size during iteration")
        return self.states[service]

    def snapshots(self, folder: Path) -> Snapshots:
        getters = {service: (lambda service=service: self.read(service)) for service in self.states}
        return Snapshots(folder / "state", lambda: getters, lambda _service, state: json.dumps(state), lambda: self.quiet)


def saved(folder: Path) -> dict[str, Any]:
    return {path.stem: json.loads(path.read_text()) for path in sorted((folder / "state").glob("*.json"))}


def test_a_save_replaces_the_one_before_and_leaves_nothing_else(tmp_path: Path) -> None:
    engine = Engine()
    snapshots = engine.snapshots(tmp_path)
    assert snapshots.save() and saved(tmp_path) == {"iam": {"n": 1}, "s3": {"n": 1}}
    engine.states["iam"] = {"n": 2}
    assert snapshots.save() and saved(tmp_path) == {"iam": {"n": 2}, "s3": {"n": 1}}
    assert len(list(tmp_path.iterdir())) == 2, "the link and one snapshot"


def test_nothing_is_saved_in_the_middle_of_a_change(tmp_path: Path) -> None:
    engine = Engine()
    snapshots = engine.snapshots(tmp_path)
    snapshots.save()
    engine.states["s3"] = {"n": 2}
    engine.breaking = True
    assert not snapshots.save() and saved(tmp_path)["s3"] == {"n": 1}
    engine.breaking, engine.quiet = False, False
    assert not snapshots.save() and saved(tmp_path)["s3"] == {"n": 1}


def test_services_that_are_not_loaded_keep_what_they_saved_earlier(tmp_path: Path) -> None:
    Engine().snapshots(tmp_path).save()
    later = Engine()
    later.states = {"s3": {"n": 3}}
    later.snapshots(tmp_path).save()
    assert saved(tmp_path) == {"iam": {"n": 1}, "s3": {"n": 3}}


def test_a_snapshot_cut_short_is_not_the_newest(tmp_path: Path) -> None:
    engine = Engine()
    engine.snapshots(tmp_path).save()
    (tmp_path / "state-1").mkdir()
    (tmp_path / "state-1" / "s3.json").write_text('{"n": ')
    assert saved(tmp_path)["s3"] == {"n": 1}
    engine.snapshots(tmp_path).save()
    assert not (tmp_path / "state-1").exists()


def test_a_save_that_fails_is_told_once_and_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine = Engine()
    attempts: list[int] = []

    def encode(_service: str, state: Any) -> str:
        attempts.append(1)
        if len(attempts) < 4:
            raise OSError("no space left on device")
        return json.dumps(state)

    snapshots = Snapshots(tmp_path / "state", lambda: {"s3": lambda: engine.read("s3")}, encode, lambda: True, interval_s=0.01)

    async def served(_scope: Any, _receive: Any, _send: Any) -> None: ...

    snapshots.start()
    asyncio.run(snapshots.watch(served)({"type": "http", "method": "PUT"}, None, None))  # type: ignore[arg-type]
    wait_until(lambda: saved(tmp_path), bool, 10)
    assert saved(tmp_path) == {"s3": {"n": 1}}
    assert [record.message.startswith("the engine's state could not be saved") for record in caplog.records] == [True]


def test_only_asset_buckets_without_a_stack_are_ownerless() -> None:
    buckets = ["cdk-abc-assets-000000000000-us-east-1", "cdk-def-assets-000000000000-us-east-1", "whippet-photos"]
    assert list_ownerless(buckets, ["cdk-def-assets-000000000000-us-east-1"]) == ["cdk-abc-assets-000000000000-us-east-1"]
