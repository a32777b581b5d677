"""docs/security.md: its tables are those of the code, and they hold every statement of the template and no other."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from stacks.permissions import PERMISSION, render_resource
from stacks.security_page import BEGIN, END, PAGE, read_entries, read_metadata, replace_tables, write_tables
from tests.fixtures.stacks.fake_sagemaker import planned
from tests.fixtures.stacks.policies import listed
from tests.fixtures.stacks.synthesis import Synthesis

Atom = tuple[str, str, str, str]
"""Role, action, resource, condition."""


def test_the_page_is_what_the_code_says(variation: Callable[[str], Synthesis]) -> None:
    written = PAGE.read_text(encoding="utf-8")
    made = replace_tables(written, write_tables(variation("default").folder, variation("everything").folder))
    assert written == made, "docs/security.md is older than the code: python -m stacks.security_page"


def test_only_what_stands_between_the_marks_is_written_anew() -> None:
    assert replace_tables(f"before {BEGIN} old {END} after", "new") == f"before {BEGIN}\n\nnew\n\n{END} after"


def test_the_page_says_which_endpoint_is_not_isolated() -> None:
    isolated = {kind: planned({"deployment": {"kind": kind}})["network_isolation"] for kind in ("instance", "serverless")}
    assert isolated == {"instance": True, "serverless": False}
    assert "Only a serverless endpoint has network access" in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["default", "everything"])
def test_every_statement_of_the_template_has_its_reason(variation: Callable[[str], Synthesis], name: str) -> None:
    """CDK puts statements together and adds some, so both sides are taken apart into one action on one resource each."""
    synthesis = variation(name)
    assert set(atoms_of_reasons(synthesis)) == set(atoms_of_policies(synthesis))


def atoms_of_reasons(synthesis: Synthesis) -> Iterator[Atom]:
    """What the code gave reasons for."""
    roles = {
        path.split("/", 2)[2].removesuffix("/Resource"): entry["data"]
        for path, said in read_metadata(synthesis.folder).items()
        for entry in said
        if entry["type"] == "aws:cdk:logicalId" and path.count("/") > 1
    }
    for path, said in read_entries(synthesis.folder, PERMISSION):
        condition = json.dumps(said["conditions"], sort_keys=True)
        for action in said["actions"]:
            for resource in said["resources"]:
                yield roles[path], action, resource, condition


def atoms_of_policies(synthesis: Synthesis) -> Iterator[Atom]:
    """What CloudFormation will set."""
    for policy in synthesis.resources("AWS::IAM::Policy").values():
        for role in policy["Properties"]["Roles"]:
            yield from atoms(role["Ref"], policy["Properties"]["PolicyDocument"])
    for name, role in synthesis.resources("AWS::IAM::Role").items():
        for policy in role["Properties"].get("Policies", []):
            yield from atoms(name, policy["PolicyDocument"])


def atoms(role: str, document: dict[str, Any]) -> Iterator[Atom]:
    for statement in document["Statement"]:
        assert statement["Effect"] == "Allow"
        condition = json.dumps(statement.get("Condition", {}), sort_keys=True)
        for action in listed(statement["Action"]):
            for resource in listed(statement["Resource"]):
                yield role, action, render_resource(resource), condition
