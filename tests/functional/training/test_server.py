"""The model server over real HTTP, on the model that the test job trained. Run: `make test`."""

import asyncio
import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from tests.fixtures.training.jobs import Job
from training.serving.inference import model_fn
from training.serving.server import MAX_BODY, BusyError, Turns, build_app, main, threads_per_prediction


class Server(uvicorn.Server):
    """A uvicorn server in a thread, on a port of the system's choosing."""

    @property
    def port(self) -> int:
        return int(self.servers[0].sockets[0].getsockname()[1])


@pytest.fixture(scope="module")
def port(finished: Job) -> Iterator[int]:
    app = build_app(lambda: model_fn(str(finished.folders.model)))
    server = Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.05)
    yield server.port
    server.should_exit = True
    thread.join()


def send(port: int, body: bytes, kind: str = "image/png", path: str = "/invocations", **headers: str) -> tuple[int, dict[str, object]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", path, body, {"Content-Type": kind, **headers})
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, json.loads(text)


@pytest.fixture(scope="module")
def photo(finished: Job) -> bytes:
    return (finished.folders.photos / "green" / "3.png").read_bytes()


def test_ping_answers_once_the_model_is_there(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/ping")
    assert connection.getresponse().status == 200
    connection.close()


@pytest.mark.parametrize("path", ["/invocations", "/"])
@pytest.mark.parametrize("kind", ["image/png", "application/octet-stream", "image/jpeg; charset=binary"])
def test_a_photo_gets_its_classes(port: int, photo: bytes, path: str, kind: str) -> None:
    status, answer = send(port, photo, kind, path)
    assert status == 200
    assert (answer["class"], answer["model"]) == ("green", "whippet-test-train")
    predictions = answer["predictions"]
    assert isinstance(predictions, list)
    assert [prediction["probability"] for prediction in predictions] == sorted((p["probability"] for p in predictions), reverse=True)
    assert sum(prediction["probability"] for prediction in predictions) == pytest.approx(1.0, abs=1e-4)
    assert answer["probability"] == predictions[0]["probability"]


def test_check_photos_get_the_probabilities_that_the_artefact_promises(port: int, finished: Job) -> None:
    """What verifies an endpoint after it is deployed."""
    model = finished.folders.model
    description = json.loads((model / "model.json").read_text(encoding="utf-8"))
    assert description["check_photos"]
    for promised in description["check_photos"]:
        _, answer = send(port, (model / promised["file"]).read_bytes(), "application/octet-stream")
        predictions = answer["predictions"]
        assert isinstance(predictions, list)
        given = {prediction["class"]: prediction["probability"] for prediction in predictions}
        assert [given[name] for name in description["classes"]] == pytest.approx(promised["probabilities"], abs=1e-5)


@pytest.mark.parametrize(
    ("body", "kind", "status", "sentence"),
    [
        (b"", "image/png", 400, "body is empty"),
        (b"%PDF-1.7", "application/pdf", 415, "application/pdf is not a photo"),
        (b"%PDF-1.7", "image/jpeg", 400, "none of JPEG"),
        (b'{"url": "http://169.254.169.254/"}', "application/json", 415, "not a photo"),
        (b"\x93NUMPY", "application/x-npy", 415, "not a photo"),
        (b"x" * (MAX_BODY + 1), "image/png", 413, "more than"),
        (b"x" * 20_000_000, "image/png", 413, "more than"),
    ],
)
def test_what_is_no_photo_gets_a_sentence(port: int, body: bytes, kind: str, status: int, sentence: str) -> None:
    got, answer = send(port, body, kind)
    assert got == status
    assert sentence in str(answer["error"])


def test_a_photo_cut_short_is_the_clients_fault(port: int, photo: bytes) -> None:
    status, answer = send(port, photo[: len(photo) // 2])
    assert status == 400
    assert "damaged" in str(answer["error"])


def test_a_body_without_a_length_is_bounded_too(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/invocations", iter([b"x" * 1_000_000] * 8), {"Content-Type": "image/png"}, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


def test_a_full_queue_is_said(finished: Job) -> None:
    """One computes, one waits, the third is told to come again."""
    release = threading.Event()

    def work() -> str:
        release.wait(10)
        return "done"

    async def crowd() -> list[str | BaseException]:
        turns = Turns(at_once=1, waiting=2)
        tasks = [asyncio.create_task(turns.take(work)) for _ in range(3)]
        await asyncio.sleep(0.1)
        release.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, second, third = asyncio.run(crowd())
    assert (first, second) == ("done", "done")
    assert isinstance(third, BusyError)


def test_a_model_that_cannot_load_ends_the_server_with_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model").mkdir()
    assert main({"SAGEMAKER_BASE_DIR": str(tmp_path), "OMP_NUM_THREADS": "1"}) == 1
    assert "cannot be served: model.json cannot be read" in capsys.readouterr().err


def test_threads_follow_the_environment_or_leave_room() -> None:
    assert [threads_per_prediction({"OMP_NUM_THREADS": asked}, cores=8) for asked in ("3", "", "x", "0")] == [3, 4, 4, 4]


def test_the_artefact_starts_its_own_server(finished: Job) -> None:
    """`serve` is found and imports the package that lies beside it, not the one that is tested here."""
    program = finished.folders.model / "code" / "serve"
    code = program.read_text().partition("sys.exit")[0] + "import training; print(training.__file__)"
    code = code.replace("__file__).resolve", f"{str(program)!r}).resolve", 1)
    done = subprocess.run([sys.executable, "-c", code], cwd=finished.folders.model, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()) == program.parent / "training" / "__init__.py"
