"""`whippet predict`: posts photo files to the API, signed for IAM, and prints the classes.

Runs on the user's machine: `whippet predict PHOTO... [--local] [--json]`.
"""

import json
import mimetypes
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies
from rich.console import Console
from rich.text import Text

from cli.account.target import Target, open_target
from cli.terminal.errors import RefusedError
from cli.terminal.options import Local, Project
from cli.terminal.screen import open_console
from training.contract.photos import TITLES, find_format

TIMEOUT_S = 60
BAR = 30
"""Characters of a bar for a probability of 1."""


def predict(
    photos: Annotated[list[Path], typer.Argument(help="Photo files.")],
    local: Local = False,
    project: Project = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the API's answers.")] = False,
) -> None:
    """Classify photos through the API."""
    console, target = open_console(), open_target(local, project)
    for photo in photos:
        answer = classify(target, photo)
        if as_json:
            typer.echo(json.dumps({"photo": str(photo), **answer}, ensure_ascii=False))
        else:
            print_answer(console, photo, answer)


def classify(target: Target, photo: Path) -> dict[str, Any]:
    """Return the API's answer for one photo; raises RefusedError with the API's message."""
    if not photo.is_file():
        raise RefusedError(f"{photo} is not a file. Name a photo: {TITLES}.")
    body = photo.read_bytes()
    url = target.predict_url()
    request = AWSRequest("POST", url, data=body, headers={"Content-Type": detect_media_type(photo, body)})
    SigV4Auth(target.credentials(), "execute-api", target.region).add_auth(request)
    answer = _open_session(target, url).send(request.prepare())
    return read_answer(target, answer.status_code, dict(answer.headers), answer.content)


def _open_session(target: Target, url: str) -> URLLib3Session:
    """Open a session like boto3's clients: on AWS with the environment's proxies and certificates, locally without them."""
    if target.local:
        return URLLib3Session(verify=target.ca_bundle or True, timeout=TIMEOUT_S)
    verify = target.ca_bundle or os.environ.get("REQUESTS_CA_BUNDLE") or True
    return URLLib3Session(verify=verify, timeout=TIMEOUT_S, proxies=get_environ_proxies(url))


def detect_media_type(photo: Path, body: bytes) -> str:
    """Detect the media type from the bytes; for unknown formats use the name's type, so that the API can explain its refusal."""
    found = find_format(body[:16])
    return found.content_type if found else mimetypes.guess_type(photo.name)[0] or "application/octet-stream"


def read_answer(target: Target, status: int, headers: dict[str, str], content: bytes) -> dict[str, Any]:
    """Parse the answer; raises RefusedError with the API's message and advice."""
    try:
        answer = json.loads(content)
    except ValueError:
        answer = {"error": content[:200].decode("utf-8", "replace") or "an empty answer"}
    if status == 200 and "predictions" in answer:
        return dict(answer)
    message = str(answer.get("error") or answer.get("message") or answer)
    raise RefusedError(f"The API answered {status}: {message}{_advise(target, status, headers)}")


def print_answer(console: Console, photo: Path, answer: dict[str, Any]) -> None:
    """Print the classes with bars, the most likely one first."""
    console.print(Text(f"  {photo.name}", style="dim"))
    width = max(len(prediction["class"]) for prediction in answer["predictions"])
    for rank, prediction in enumerate(answer["predictions"]):
        filled = round(BAR * prediction["probability"])
        style = "bold green" if rank == 0 else ""
        bar = ("━" * filled, "green" if rank == 0 else "cyan"), " " * (BAR - filled)
        console.print(
            Text.assemble("  ", (f"{prediction['class']:<{width}}  ", style), *bar, (f"  {prediction['probability']:6.1%}", style))
        )


def _advise(target: Target, status: int, headers: dict[str, str]) -> str:
    if status == 503:
        wait = next((f" Try again in {value} s." for name, value in headers.items() if name.lower() == "retry-after"), "")
        return f"{wait} `whippet status{target.option}` shows the endpoint's status."
    if status == 403:
        return " The credentials need the permission execute-api:Invoke on this API."
    return ""
