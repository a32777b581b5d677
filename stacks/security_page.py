"""The tables of docs/security.md: what every role may do and why, and which findings of the security checks are meant to be so and why.

Runs on a developer's machine: `python -m stacks.security_page` synthesises the stack as cdk.json configures it, and once more with every
knob turned that adds a permission, and writes the tables into the page. Resources and conditions are those of the template, reasons those
given in code beside each permission. A test says when the page is older than the code.
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
    "notify_email": "somebody@example.com",
    "monthly_budget_usd": 100,
    "retrain_on_new_data": True,
}
"""Every knob that adds something."""

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
        """As the page has it, below a heading with the role's name."""
        return f"| {self.actions} | {self.resources} | {self.conditions} | {self.why} |"


def main() -> None:
    """Writes the tables into the page."""
    with tempfile.TemporaryDirectory() as folder:
        default, everything = Path(folder) / "default", Path(folder) / "everything"
        synthesise(default)
        synthesise(everything, **EVERYTHING)
        PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8"), tables(default, everything)), encoding="utf-8")


def synthesise(folder: Path, **knobs: Any) -> None:
    """The stack as cdk.json configures it, but for these knobs."""
    context = {**json.loads((REPOSITORY / "cdk.json").read_text())["context"], **knobs}
    app = cdk.App(outdir=str(folder), context=context)
    config = Config.from_context(app.node.get_all_context())
    ImageClassifierStack(app, config.project, config=config)
    app.synth()


def with_tables(page: str, written: str) -> str:
    """The page with these tables in the place of the old ones."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{written}\n\n{END}{after}"


def tables(default: Path, everything: Path) -> str:
    """Both tables, of two synthesised assemblies: the second adds to the first."""
    always = list(permissions(default))
    added = [each for each in permissions(everything) if each not in always]
    parts = [by_role("##", always), "## What knobs add", ADDED, by_role("###", added), "## Findings that are meant to be so", MEANT]
    return "\n\n".join([*parts, findings(default, everything)])


ADDED = "With `encryption=kms`, a VPC, `retrain_on_new_data` and the like; the rest stays as above."
MEANT = (
    "cdk-nag checks the stack by its packs AwsSolutions, Serverless and NIST 800-53 R5. What they find is repaired, or stands here with its"
    " reason; `AwsSolutions-IAM5`, a wildcard in a policy, stands beside each permission above."
)


def by_role(heading: str, rows: list[Permission]) -> str:
    """A table for each role."""
    parts: list[str] = []
    for role in sorted({each.role for each in rows}):
        parts += [f"{heading} {role}", "", "| action | resource | condition | why |", "| --- | --- | --- | --- |"]
        parts += [*[each.row for each in rows if each.role == role], ""]
    return "\n".join(parts).rstrip()


def permissions(assembly: Path) -> Iterator[Permission]:
    """Every statement with its reason, in the order of the constructs."""
    paths = paths_by_logical_id(assembly)
    for path, said in entries(assembly, PERMISSION):
        yield Permission(
            role=path.removesuffix("/Role"),
            actions="<br>".join(f"`{each}`" for each in sorted(said["actions"])),
            resources="<br>".join(f"`{short(each, paths)}`" for each in said["resources"]),
            conditions="<br>".join(conditions(said["conditions"])),
            why=said["why"],
        )


def findings(*assemblies: Path) -> str:
    """The second table: one row for each finding and reason, with all the places."""
    places: dict[tuple[str, str], list[str]] = {}
    for assembly in assemblies:
        for path, said in entries(assembly, ACCEPTED):
            if not said["finding"].startswith("AwsSolutions-IAM5"):
                found = places.setdefault((said["finding"], said["why"]), [])
                found += [] if path in found else [path]
    rows = [f"| {finding} | {'<br>'.join(sorted(where))} | {why} |" for (finding, why), where in sorted(places.items())]
    return "\n".join(["| finding | where | why |", "| --- | --- | --- |", *rows])


def entries(assembly: Path, kind: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Path of the construct below the stack, and what was said of it."""
    for path, said in metadata(assembly).items():
        for entry in said:
            if entry["type"] == kind:
                yield path.split("/", 2)[2], entry["data"]


def metadata(assembly: Path) -> dict[str, list[dict[str, Any]]]:
    """Path -> entries, as CDK writes them beside the template."""
    (file,) = assembly.glob("*.metadata.json")
    written: dict[str, list[dict[str, Any]]] = json.loads(file.read_text(encoding="utf-8"))
    return written


def paths_by_logical_id(assembly: Path) -> dict[str, str]:
    """Logical id -> path of the construct below the stack."""
    found = {}
    for path, said in metadata(assembly).items():
        for entry in said:
            if entry["type"] == "aws:cdk:logicalId":
                found[entry["data"]] = path.split("/", 2)[-1].removesuffix("/Resource")
    return found


def short(resource: str, paths: Mapping[str, str]) -> str:
    """`arn:<AWS::Partition>:sagemaker:<AWS::Region>:…` -> `arn:…:sagemaker:…:endpoint/whippet`, and constructs by their paths."""
    own = resource.replace("<AWS::Partition>", "…").replace("<AWS::Region>:<AWS::AccountId>", "…").replace(":<AWS::AccountId>:", ":…:")
    own = re.sub(r"<AWS::Region>|<AWS::AccountId>|<\[.*?\]>", "…", own)  # the last is looked up in the table of images
    return re.sub(r"<(\w+)(?:\.(?:Arn|GroupId))?>", lambda name: paths.get(name[1], name[1]), own)


def conditions(written: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """`{"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}` -> ``iam:PassedToService = sagemaker.amazonaws.com``"""
    for verb, keys in written.items():
        for key, value in keys.items():
            values = " or ".join(value) if isinstance(value, list) else value
            yield f"`{key}` {VERBS[verb]} `{values}`"


if __name__ == "__main__":
    main()
