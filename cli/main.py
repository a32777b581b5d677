"""The command `whippet`: one verb per step from photos to predictions, on AWS or, with --local, on this machine.

Runs on the user's machine: `whippet --help`. An error that the user can fix is printed as one sentence on stderr, with exit status 1.
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
from cli.terminal.screen import open_console
from cli.up import down, up
from cli.upload import upload
from cli.watch import watch
from local.image_environment import ImageEnvironmentError
from local.mode import LocalModeError

USER_ERRORS = (RefusedError, LocalModeError, ImageEnvironmentError, botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError)
CREDENTIALS = "Run `aws configure` or `aws sso login`, or add --local to work on this machine."


class Verbs(TyperGroup):
    """Prints an error that the user can fix as one sentence; other errors keep their traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the verb."""
        try:
            return super().invoke(ctx)
        except USER_ERRORS as error:
            open_console(stderr=True).print("[bold red]✗[/]", Text(explain(error)), soft_wrap=True)
            raise typer.Exit(1) from error


def explain(error: Exception) -> str:
    """Explain an error and what to do about it."""
    text = str(error)
    if isinstance(error, botocore.exceptions.NoCredentialsError | botocore.exceptions.PartialCredentialsError):
        return f"No usable AWS credentials: {text}. {CREDENTIALS}"
    if isinstance(error, botocore.exceptions.ClientError):
        return _explain_client_error(error)
    if isinstance(error, botocore.exceptions.NoRegionError):
        return "No AWS region is set. Set AWS_REGION (or `aws configure`), or add --local to work on this machine."
    if isinstance(error, botocore.exceptions.EndpointConnectionError | botocore.exceptions.ConnectTimeoutError):
        return f"{text} Check the network and the region; for this machine add --local."
    return text


def _explain_client_error(error: botocore.exceptions.ClientError) -> str:
    code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
    text = f"{error.operation_name}: {message} ({code})."
    if code in {"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch"}:
        return f"{text} The AWS credentials are expired or wrong. {CREDENTIALS}"
    if code in {"AccessDenied", "AccessDeniedException"}:
        return f"{text} These credentials lack that permission: request it or use other credentials."
    return text


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
