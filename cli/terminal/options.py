"""The options that every verb has. Used by the verbs."""

from typing import Annotated

import typer

Local = Annotated[bool, typer.Option("--local", help="Work on local mode on this machine.", envvar="WHIPPET_LOCAL", show_envvar=True)]
Project = Annotated[
    str | None, typer.Option("--project", help="Stack name and prefix of every job; default: the value in cdk.json.", show_default=False)
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict", help="Local mode over TLS, where every call needs a permission of its role.", envvar="WHIPPET_STRICT", show_envvar=True
    ),
]
