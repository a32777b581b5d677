"""Local mode's own parts without an engine: processes by pid, the image environment's stamp, environment and URLs."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
import venv
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest

from local.host.ports import find_free_port
from local.host.processes import PidFiles
from local.image_environment import LOCK, STAMP, TOOLKITS, ImageEnvironment, ImageEnvironmentError
from local.mode import ACCESS_KEY, LocalMode
from tests.fixtures.local.running import Local, archive, lives, wait_until

SLEEPS = [sys.executable, "-c", "import time; time.sleep(600)"]
STARTS_ANOTHER = """
import subprocess, sys, time
print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid, flush=True)
time.sleep(600)
"""
IGNORES_TERM = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"


def test_a_process_is_found_and_ended_with_what_it_started(tmp_path: Path) -> None:
    book = PidFiles(tmp_path / "run")
    pid = book.start_detached("engine", [sys.executable, "-c", STARTS_ANOTHER], os.environ, tmp_path / "log")
    text = wait_until((tmp_path / "log").read_text, lambda text: text.endswith("\n"), 20)
    assert book.find_pid("engine") == pid and lives(int(text))
    assert set(book.stop("engine")) == {pid, int(text)}
    assert not lives(pid) and not lives(int(text))
    assert book.find_pid("engine") is None and book.stop("engine") == [] and book.list_records() == []


def test_a_process_that_ignores_sigterm_is_killed_after_the_grace_time(tmp_path: Path) -> None:
    book = PidFiles(tmp_path / "run")
    pid = book.start_detached("deaf", [sys.executable, "-c", IGNORES_TERM], os.environ, tmp_path / "log")
    wait_until((tmp_path / "log").read_text, bool, 20)
    began = time.monotonic()
    assert book.stop("deaf", grace_s=0.5) == [pid]
    assert not lives(pid) and 0.4 < time.monotonic() - began < 10


def test_orphans_of_a_dead_leader_are_found_by_its_session(tmp_path: Path) -> None:
    book = PidFiles(tmp_path / "run")
    pid = book.start_detached("job-1", [sys.executable, "-c", STARTS_ANOTHER], os.environ, tmp_path / "log")
    orphan = int(wait_until((tmp_path / "log").read_text, lambda text: text.endswith("\n"), 20))
    psutil.Process(pid).kill()
    os.waitpid(pid, 0)
    assert lives(orphan) and book.find_pid("job-1") is None
    assert book.stop_all("job-") == [orphan]
    assert not lives(orphan)


def test_a_pid_that_belongs_to_somebody_else_now_is_left_alone(tmp_path: Path) -> None:
    book = PidFiles(tmp_path / "run")
    pid = book.start_detached("mine", SLEEPS, os.environ, tmp_path / "log")
    (mine,) = book.list_records()
    another_boot = "another-boot:" + mine.birth.partition(":")[2]
    for other in (replace(mine, name="other", birth=another_boot), replace(mine, name="other", birth="", started=1e9)):
        (tmp_path / "run" / "other.pid").write_text(json.dumps(asdict(other)))
        assert book.find_pid("other") is None and book.stop("other") == [] and lives(pid)
    assert book.stop("mine") == [pid]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="without /proc a process is known by its start time alone")
def test_a_process_is_still_known_after_the_clock_was_set(tmp_path: Path) -> None:
    book = PidFiles(tmp_path / "run")
    pid = book.start_detached("mine", SLEEPS, os.environ, tmp_path / "log")
    (mine,) = book.list_records()
    (tmp_path / "run" / "mine.pid").write_text(json.dumps(asdict(replace(mine, started=mine.started - 3600))))
    assert book.find_pid("mine") == pid and book.stop("mine") == [pid] and not lives(pid)


def test_a_record_that_goes_while_records_are_read_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "gone.pid").symlink_to(tmp_path / "nowhere")
    assert PidFiles(tmp_path).list_records() == []


def test_a_record_cut_short_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "broken.pid").write_text('{"name": "bro')
    assert PidFiles(tmp_path).list_records() == [] and list(tmp_path.iterdir()) == []


def test_the_image_environment_is_whole_only_with_the_stamp_of_its_lock(tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text("# nothing is needed\n")
    environment = ImageEnvironment(tmp_path / "image", lock)
    with pytest.raises(ImageEnvironmentError, match=r"pip could not install lock\.txt"):
        environment.ensure(print, tmp_path / "log")
    assert environment.python.exists() and not environment.is_ready(), "an environment without the toolkit was taken for whole"
    assert not (tmp_path / "image" / STAMP).exists()


def test_torch_comes_from_the_index_that_make_is_given(tmp_path: Path) -> None:
    environment = ImageEnvironment(tmp_path / "image")
    everything, torch, toolkits = environment.commands({"TORCH_INDEX": ""})
    assert "--no-deps" in everything and "--index-url" not in everything
    assert torch[-4:] == ["-c", str(LOCK), "torch", "torchvision"] and "--no-deps" not in torch
    first, *rest = environment.commands({"TORCH_INDEX": "https://example.com/cpu"})
    assert first[-7:] == ["--no-deps", "--index-url", "https://example.com/cpu", *torch[-4:]]
    assert rest == [everything, torch, toolkits]


def test_the_toolkits_are_downloaded_by_hash_and_not_installed_by_pip(tmp_path: Path) -> None:
    everything, _torch, toolkits = ImageEnvironment(tmp_path / "image").commands({})
    assert {"download", "--require-hashes", "--no-build-isolation"} <= set(toolkits)
    assert {each.partition("==")[0] for each in everything}.isdisjoint(TOOLKITS) and "scipy==1.17.1" in everything


def test_a_toolkit_is_unpacked_with_its_metadata_and_its_program(tmp_path: Path) -> None:
    """The archive is of the toolkits' form; the program runs in a folder whose name a shell would split."""
    environment = ImageEnvironment(tmp_path / "my image")
    venv.create(environment.folder, with_pip=False, symlinks=True)
    sources = environment.folder / "toolkits"
    sources.mkdir()
    root = "sagemaker_training-5.1.1"
    files = {
        "src/sagemaker_training/__init__.py": "",
        "src/sagemaker_training/cli/__init__.py": "",
        "src/sagemaker_training/cli/train.py": "import sys, gethostname\ndef main() -> None:\n    print(sys.argv[1:], sys.prefix)",
        "src/sagemaker_training/c/gethostname.c": "int main() {}",
        "sagemaker_training.egg-info/PKG-INFO": "Metadata-Version: 2.1\nName: sagemaker_training\nVersion: 5.1.1\n",
        "setup.py": "raise SystemExit('this is not run')",
    }
    (sources / f"{root}.tar.gz").write_bytes(archive({f"{root}/{name}": text for name, text in files.items()}))
    environment._unpack_toolkits()
    printed = subprocess.run([environment.train, "a b"], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == f"['a b'] {environment.folder}"
    version = "from importlib import metadata; print(metadata.version('sagemaker-training'))"
    assert subprocess.run([environment.python, "-c", version], capture_output=True, text=True, check=True).stdout.strip() == "5.1.1"
    assert not sources.exists()


def test_every_line_of_the_lock_pins_one_version_and_smdebug_is_not_there() -> None:
    lines = [line for line in LOCK.read_text().splitlines() if line and not line.startswith("#")]
    names = [line.partition("==")[0].lower() for line in lines]
    assert all(line.count("==") == 1 for line in lines) and len(set(names)) == len(names)
    assert {"torch", "torchvision", "sagemaker-training", "sagemaker-pytorch-training"} <= set(names)
    assert "smdebug" not in names


def test_the_environment_holds_nothing_of_the_users_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "secret")
    monkeypatch.setenv("EDITOR", "vi")
    environment = LocalMode(tmp_path).environment()
    assert "AWS_PROFILE" not in environment and "AWS_SESSION_TOKEN" not in environment
    assert environment["EDITOR"] == "vi" and environment["AWS_ACCESS_KEY_ID"] == ACCESS_KEY
    assert environment["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1:")
    assert environment["CDK_HOME"] == str(tmp_path / "cdk")


def test_a_proxy_for_the_web_is_not_asked_for_local_mode(local: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens at the proxy: whatever asks it fails."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "example.com")
    assert local.mode.is_running()
    assert local.mode.environment()["no_proxy"] == local.mode.environment()["NO_PROXY"] == "example.com,127.0.0.1"


def test_api_urls(tmp_path: Path) -> None:
    mode = LocalMode(tmp_path)
    deployed = "https://abc123.execute-api.us-east-1.amazonaws.com/v1"
    assert mode.api_url(f"{deployed}/predict") == f"{mode.engine_url}/restapis/abc123/v1/_user_request_/predict"
    assert mode.api_url(deployed) == f"{mode.engine_url}/restapis/abc123/v1/_user_request_/"
    with pytest.raises(ValueError, match="is not an API Gateway URL"):
        mode.api_url("https://example.com/predict")


def test_a_taken_port_is_passed_over() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert find_free_port(port, set()) > port
    assert find_free_port(port, {port}) > port
    assert find_free_port(port, set()) == port


def test_a_port_that_is_about_to_be_free_is_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        threading.Timer(0.3, taken.close).start()
        assert find_free_port(port, set(), patience_s=10) == port


def test_the_home_comes_from_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHIPPET_HOME", str(tmp_path / "there"))
    assert LocalMode().home == tmp_path / "there"
    assert LocalMode(tmp_path).home == tmp_path
