"""The tables of docs/security.md: the permissions of every role and the accepted findings of the security checks, each with its reason.

Runs on a developer's machine: `python -m stacks.security_page` synthesises the stack as cdk.json configures it, and again with every knob
that adds a permission, and writes the tables into the page. Resources and conditions come from the template, reasons from the code beside
each permission. A test fails if the page is older than the code.
"""

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aws_cdk as cdk

from stacks.configuration import Config
from stacks.image_classifier_stack import ImageClassifierStack
from stacks.permissions import ACCEPTED, PERMISSION

REPOSITORY = Path(__file__).resolve().parent.parent
PAGE = REPOSITORY / "docs" / "security.md"
BEGIN, END = "<!-- tables: python -m stacks.security_page -->", "<!-- end of the tables -->"

EVERYTHING = {
    "encryption": "kms",
    "vpc_id": "vpc-0123456789abcdef0",
    "subnet_ids": "subnet-0123456789abcdef0,subnet-0123456789abcdef1",
    "api_authorization": "cognito",
    "web_acl": True,
    "notify_email": "team@example.com",
    "monthly_budget_usd": 100,
    "retrain_on_new_data": True,
}
"""Every knob that adds a permission."""

VERBS = {"StringEquals": "=", "StringLike": "like", "ArnLike": "like", "Bool": "is"}


@dataclass(frozen=True)
class Permission:
    """One row of the first table."""

    role: str
    actions: str
    resources: str
    conditions: str
    why: str

    @property
    def row(self) -> str:
        """The row in Markdown, below a heading with the role's name."""
        return f"| {self.actions} | {self.resources} | {self.conditions} | {self.why} |"


def main() -> None:
    """Writes the tables into the page."""
    with tempfile.TemporaryDirectory() as folder:
        default, everything = Path(folder) / "default", Path(folder) / "everything"
        synthesise(default)
        synthesise(everything, **EVERYTHING)
        PAGE.write_text(replace_tables(PAGE.read_text(encoding="utf-8"), write_tables(default, everything)), encoding="utf-8")


def synthesise(folder: Path, **knobs: Any) -> None:
    """Synthesises the stack as cdk.json configures it, except for these knobs."""
    context = {**json.loads((REPOSITORY / "cdk.json").read_text())["context"], **knobs}
    app = cdk.App(outdir=str(folder), context=context)
    config = Config.from_context(app.node.get_all_context())
    ImageClassifierStack(app, config.project, config=config)
    app.synth()


def replace_tables(page: str, written: str) -> str:
    """Replaces the page's tables."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{written}\n\n{END}{after}"


def write_tables(default: Path, everything: Path) -> str:
    """Writes both tables from two synthesised assemblies: the second adds to the first."""
    always = list(read_permissions(default))
    added = [each for each in read_permissions(everything) if each not in always]
    parts = [render_roles("##", always), "## What knobs add", ADDED, render_roles("###", added), "## Accepted findings", MEANT]
    return "\n\n".join([*parts, render_findings(default, everything)])


ADDED = "With `encryption=kms`, a VPC, `retrain_on_new_data` and similar knobs; the permissions above stay the same."
MEANT = (
    "cdk-nag checks the stack with its packs AwsSolutions, Serverless and NIST 800-53 R5. Each finding is fixed, or listed here with its"
    " reason; `AwsSolutions-IAM5`, a wildcard in a policy, is explained with each permission above."
)


def render_roles(heading: str, rows: list[Permission]) -> str:
    """Renders a table for each role."""
    parts: list[str] = []
    for role in sorted({each.role for each in rows}):
        parts += [f"{heading} {role}", "", "| action | resource | condition | why |", "| --- | --- | --- | --- |"]
        parts += [*[each.row for each in rows if each.role == role], ""]
    return "\n".join(parts).rstrip()


def read_permissions(assembly: Path) -> Iterator[Permission]:
    """Reads every statement with its reason, in the order of the constructs."""
    paths = map_logical_ids(assembly)
    for path, said in read_entries(assembly, PERMISSION):
        yield Permission(
            role=path.removesuffix("/Role"),
            actions="<br>".join(f"`{each}`" for each in sorted(said["actions"])),
            resources="<br>".join(f"`{shorten_resource(each, paths)}`" for each in said["resources"]),
            conditions="<br>".join(render_conditions(said["conditions"])),
            why=said["why"],
        )


def render_findings(*assemblies: Path) -> str:
    """Renders the second table: one row per finding and reason, with all constructs."""
    places: dict[tuple[str, str], list[str]] = {}
    for assembly in assemblies:
        for path, said in read_entries(assembly, ACCEPTED):
            if not said["finding"].startswith("AwsSolutions-IAM5"):
                found = places.setdefault((said["finding"], said["why"]), [])
                found += [] if path in found else [path]
    rows = [f"| {finding} | {'<br>'.join(sorted(where))} | {why} |" for (finding, why), where in sorted(places.items())]
    return "\n".join(["| finding | where | why |", "| --- | --- | --- |", *rows])


def read_entries(assembly: Path, kind: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Reads the path of each construct below the stack, and its entries of this kind."""
    for path, said in read_metadata(assembly).items():
        for entry in said:
            if entry["type"] == kind:
                yield path.split("/", 2)[2], entry["data"]


def read_metadata(assembly: Path) -> dict[str, list[dict[str, Any]]]:
    """Reads path -> entries, as CDK writes them beside the template."""
    (file,) = assembly.glob("*.metadata.json")
    written: dict[str, list[dict[str, Any]]] = json.loads(file.read_text(encoding="utf-8"))
    return written


def map_logical_ids(assembly: Path) -> dict[str, str]:
    """Maps a logical id to the path of its construct below the stack."""
    found = {}
    for path, said in read_metadata(assembly).items():
        for entry in said:
            if entry["type"] == "aws:cdk:logicalId":
                found[entry["data"]] = path.split("/", 2)[-1].removesuffix("/Resource")
    return found


def shorten_resource(resource: str, paths: Mapping[str, str]) -> str:
    """Shortens `arn:<AWS::Partition>:sagemaker:<AWS::Region>:…` to `arn:…:sagemaker:…:endpoint/whippet`; constructs become their paths."""
    own = resource.replace("<AWS::Partition>", "…").replace("<AWS::Region>:<AWS::AccountId>", "…").replace(":<AWS::AccountId>:", ":…:")
    own = re.sub(r"<AWS::Region>|<AWS::AccountId>|<\[.*?\]>", "…", own)  # the last one is a lookup in the table of images
    return re.sub(r"<(\w+)(?:\.(?:Arn|GroupId))?>", lambda name: paths.get(name[1], name[1]), own)


def render_conditions(written: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Renders {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}} as `iam:PassedToService = sagemaker.amazonaws.com`."""
    for verb, keys in written.items():
        for key, value in keys.items():
            values = " or ".join(value) if isinstance(value, list) else value
            yield f"`{key}` {VERBS[verb]} `{values}`"


if __name__ == "__main__":
    main()
