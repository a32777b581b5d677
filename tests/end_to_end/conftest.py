"""One demo for all end-to-end tests: `python -m cli.demo.main --strict` on a tiny set of real photos, in a home of its own.

Strict, so that the main job passes only with what the stack's roles may do. Takes about two minutes; it needs what `make demo` needs:
the package registries, once.
"""

import json
import os
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from cli.account.target import Target, local_target
from cli.demo.photos import fetch_chess_photos
from local.mode import LocalMode
from tests import REPOSITORY
from tests.fixtures.local.running import ready_image

USERS_HOME = Path(os.environ.get("WHIPPET_HOME") or REPOSITORY / ".local").resolve()
CLASSES = ("bishop", "knight", "rook")
PHOTOS_A_CLASS = 14
DEMO_SECONDS = 540
STRICT = ("--project", "whippet", "--strict")


@dataclass(frozen=True)
class Demo:
    """A demo that has run and still runs: its record, its home, its output."""

    home: Path
    environment: dict[str, str]
    record: dict[str, Any]
    output: str
    pids: tuple[int, ...]

    @property
    def target(self) -> Target:
        """Local mode as the verbs see it."""
        return local_target("whippet", LocalMode(self.home))

    def whippet(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a verb."""
        return run(["-c", "from cli.main import app; app()", *arguments], self.environment)


def run(arguments: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run this interpreter to its end."""
    return subprocess.run(
        [sys.executable, *arguments], cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=DEMO_SECONDS, check=False
    )


def few_photos(folder: Path) -> Path:
    """Three classes of real photos, and one file that only says that it is a photo."""
    everything = fetch_chess_photos(USERS_HOME / "cache", lambda _line: None).folder.photos
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
        for number, key in enumerate(sorted(each for each in everything if each.split("/")[-2].lower().startswith(name))[:PHOTOS_A_CLASS]):
            (folder / name / f"{number:02} photo{everything[key].suffix}").write_bytes(everything[key].read_bytes())
    (folder / "rook" / "99 not a photo.jpg").write_text("these are words")
    return folder


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The demo in a home of its own, which shares only the image environment and the downloads with the user's."""
    home = tmp_path_factory.mktemp("home")
    USERS_HOME.joinpath("cache").mkdir(parents=True, exist_ok=True)
    ready_image(LocalMode(USERS_HOME))
    (home / "image").symlink_to(USERS_HOME / "image")
    (home / "cache").symlink_to(USERS_HOME / "cache")
    environment = {**os.environ, "WHIPPET_HOME": str(home), "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    try:
        photos = few_photos(tmp_path_factory.mktemp("photos"))
        done = run(["-m", "cli.demo.main", "--data", str(photos), "--jobs", "2", "--epochs", "12", *STRICT], environment)
        assert done.returncode == 0, done.stdout + done.stderr
        pids = tuple(process.pid for process in processes_of(home))
        yield Demo(home, environment, json.loads((home / "demo.json").read_text()), done.stdout, pids)
    finally:
        LocalMode(home).stop()


def processes_of(home: Path) -> list[psutil.Process]:
    """The processes that work in this home, by what they were started with."""
    found = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        if process.pid != os.getpid() and environment.get("WHIPPET_HOME") == str(home):
            found.append(process)
    return found


def call(demo: Demo, url: str, body: bytes | None = None, content_type: str = "", signed: bool = True) -> tuple[int, str, bytes]:
    """Ask the API as the user: status, content type and body of the answer."""
    method = "GET" if body is None else "POST"
    request = AWSRequest(method, url, data=body, headers={"Content-Type": content_type} if content_type else {})
    if signed:
        SigV4Auth(demo.target.credentials(), "execute-api", demo.target.region).add_auth(request)
    sent = urllib.request.Request(url, body, dict(request.headers), method=method)
    try:
        with urllib.request.urlopen(sent, timeout=60, context=ssl.create_default_context(cafile=demo.target.ca_bundle)) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read()


def post(demo: Demo, body: bytes, content_type: str) -> tuple[int, dict[str, Any]]:
    """Ask for the classes of a photo."""
    status, _type, answer = call(demo, demo.record["api_url"], body, content_type)
    return status, json.loads(answer)
