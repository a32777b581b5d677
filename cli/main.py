"""The command `whippet`: one verb for each step from photos to answers, against AWS or with --local against this machine.

Runs on the user's machine: `whippet --help`. An error that the user can mend is one sentence on stderr and exit status 1.
"""

from typing import Any

import botocore.exceptions
import typer
from rich.text import Text
from typer.core import TyperGroup

from cli.approve import approve, reject
from cli.cost import cost
from cli.deploy import deploy
from cli.doctor import doctor
from cli.predict import predict
from cli.report import report
from cli.run import run
from cli.status import status
from cli.terminal.errors import RefusedError
from cli.terminal.screen import screen
from cli.up import down, up
from cli.upload import upload
from cli.watch import watch
from local.image_environment import ImageEnvironmentError
from local.mode import LocalModeError

MENDABLE = (RefusedError, LocalModeError, ImageEnvironmentError, botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError)
CREDENTIALS = "Run `aws configure` or `aws sso login`, or add --local to work on this machine."


class Verbs(TyperGroup):
    """Shows an error that the user can mend as its sentence; any other error keeps its traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the verb."""
        try:
            return super().invoke(ctx)
        except MENDABLE as error:
            screen(stderr=True).print("[bold red]✗[/]", Text(sentence(error)), soft_wrap=True)
            raise typer.Exit(1) from error


def sentence(error: Exception) -> str:
    """What went wrong and what to do about it."""
    text = str(error)
    if isinstance(error, botocore.exceptions.NoCredentialsError | botocore.exceptions.PartialCredentialsError):
        return f"No usable AWS credentials: {text}. {CREDENTIALS}"
    if isinstance(error, botocore.exceptions.ClientError):
        return _refused_call(error)
    if isinstance(error, botocore.exceptions.NoRegionError):
        return "No AWS region is set. Set AWS_REGION (or `aws configure`), or add --local to work on this machine."
    if isinstance(error, botocore.exceptions.EndpointConnectionError | botocore.exceptions.ConnectTimeoutError):
        return f"{text} Check the network and the region; for this machine add --local."
    return text


def _refused_call(error: botocore.exceptions.ClientError) -> str:
    code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
    said = f"{error.operation_name}: {message} ({code})."
    if code in {"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch"}:
        return f"{said} The AWS credentials are expired or wrong. {CREDENTIALS}"
    if code in {"AccessDenied", "AccessDeniedException"}:
        return f"{said} These credentials lack that permission; use others or ask for it."
    return said


app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Photos in class folders to a deployed classifier.",
)
app.command()(doctor)
app.command()(up)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(deploy)
app.command()(upload)
app.command()(run)
app.command()(watch)
app.command()(report)
app.command()(cost)
app.command()(approve)
app.command()(reject)
app.command()(predict)
app.command()(status)
app.command()(down)
