"""The model server: an ASGI application with SageMaker's two routes and the one that the Ray Serve image calls.

Runs in the serving container and in local mode:

    GET  /ping          200 once the model is loaded
    POST /invocations   a photo's bytes in, {"class", "probability", "predictions", "model"} out; also at /

`code/serve` of an artefact starts it under uvicorn; by hand: BIND_HOST=127.0.0.1 SAGEMAKER_BASE_DIR=folder python -m
training.serving.server
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import torch
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from training.data.preprocessing import PhotoError
from training.network.resnet50 import WeightsError
from training.serving.inference import UnsupportedContentTypeError, input_fn, model_fn, output_fn, predict_fn
from training.serving.prediction import Model

MAX_BODY = 6 * 1024 * 1024
"""Most bytes of a request: the limit of a SageMaker endpoint."""
MAX_DISCARDED = 64 * 1024 * 1024
"""Bytes read and dropped of a larger one, so that its sender receives the response instead of a broken connection."""
MAX_WAITING = 64
"""Requests that may wait for their turn."""


class BodyTooLargeError(ValueError):
    """The request has more bytes than allowed."""


class BusyError(RuntimeError):
    """Too many requests are waiting."""


class Turns:
    """Limits how many predictions compute at a time and how many wait: requests beyond a full queue are rejected."""

    def __init__(self, at_once: int, waiting: int = MAX_WAITING) -> None:
        """`at_once`: predictions that compute in parallel."""
        self._semaphore, self._waiting, self._most = asyncio.Semaphore(at_once), 0, waiting

    async def take(self, work: Callable[[], str]) -> str:
        """Run the work in a thread when its turn comes.

        Raises:
            BusyError: the queue is full.
        """
        if self._waiting >= self._most:
            raise BusyError(f"{self._most} requests are waiting already; try again in a second")
        self._waiting += 1
        try:
            async with self._semaphore:
                return await run_in_threadpool(work)
        finally:
            self._waiting -= 1


def build_app(load: Callable[[], Model], at_once: int = 1) -> Starlette:
    """Return the application; `load` is called when it starts, and its error stops the start."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.turns = Turns(at_once)
        app.state.model = await run_in_threadpool(load)
        yield

    routes = [Route("/ping", ping, methods=["GET"]), *(Route(path, invoke, methods=["POST"]) for path in ("/invocations", "/"))]
    return Starlette(routes=routes, lifespan=lifespan)


async def ping(request: Request) -> Response:
    """Return 200 if the model is loaded."""
    return Response(status_code=200 if hasattr(request.app.state, "model") else 503)


async def invoke(request: Request) -> Response:
    """Return the classes of the photo in the body; errors are reported in {"error"}."""
    state = request.app.state
    try:
        photo = input_fn(await read_body(request), request.headers.get("content-type", ""))
        response = await state.turns.take(lambda: output_fn(predict_fn(photo, state.model)))
    except BodyTooLargeError as error:
        return _refuse(413, str(error), connection="close")
    except UnsupportedContentTypeError as error:
        return _refuse(415, str(error))
    except PhotoError as error:
        return _refuse(400, f"this photo cannot be used: {error}")
    except BusyError as error:
        return _refuse(503, str(error), **{"retry-after": "1"})
    except ClientDisconnect:
        return Response(status_code=400)  # the client has disconnected
    return Response(response, media_type="application/json")


def _refuse(status: int, sentence: str, **headers: str) -> Response:
    return JSONResponse({"error": sentence}, status_code=status, headers=headers)


async def read_body(request: Request, limit: int = MAX_BODY) -> bytes:
    """Read the body, never keeping more than `limit` bytes of it.

    Raises:
        BodyTooLargeError: it has more, by its header or as received.
    """
    announced = request.headers.get("content-length", "0")
    body, received = bytearray(), 0
    if announced.isdecimal() and int(announced) <= MAX_DISCARDED:
        async for chunk in request.stream():
            received += len(chunk)
            if received > MAX_DISCARDED:
                break
            if received <= limit:
                body += chunk
        if received <= limit:
            return bytes(body)
    raise BodyTooLargeError(f"the body has more than {limit:,} bytes; send a smaller photo")


def main(environment: Mapping[str, str]) -> int:
    """Serve until stopped; return the exit status. If the model cannot be loaded, the server ends with a sentence."""
    cores = os.cpu_count() or 1
    threads = threads_per_prediction(environment, cores)
    torch.set_num_threads(threads)
    folder = Path(environment.get("SAGEMAKER_BASE_DIR", "/opt/ml")) / "model"
    try:
        model = model_fn(str(folder))
    except WeightsError as error:
        print(f"the model in {folder} cannot be served: {error}", file=sys.stderr, flush=True)
        return 1
    host, port = environment.get("BIND_HOST", "0.0.0.0"), int(environment.get("SAGEMAKER_BIND_TO_PORT", "8080"))  # noqa: S104 - a container
    uvicorn.run(
        build_app(lambda: model, at_once=max(1, cores // threads)), host=host, port=port, log_level="warning", timeout_keep_alive=75
    )
    return 0


def threads_per_prediction(environment: Mapping[str, str], cores: int) -> int:
    """Return OMP_NUM_THREADS, or half of the cores, so that requests can run in parallel."""
    threads = environment.get("OMP_NUM_THREADS", "")
    return int(threads) if threads.isdecimal() and int(threads) else max(1, cores // 2)


if __name__ == "__main__":
    sys.exit(main(os.environ))
