"""CloudFormation's AWS::SageMaker::ModelPackageGroup, created by the SageMaker plane: the engine lacks SageMaker resources.

Runs in the engine process, for `local.engine.adapter`. CloudFormation's tags on a group identify its stack.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from local.engine.plane_client import PlaneClient, PlaneUnreachableError

TYPE = "AWS::SageMaker::ModelPackageGroup"
STACK_TAG = "aws:cloudformation:stack-name"
log = logging.getLogger("stack-resources")

Attributes = dict[str, Any]


class ModelPackageGroupResource:
    """The operations of a stack on a model package group. They raise ValueError, which rolls the stack back."""

    def __init__(self, client: PlaneClient) -> None:
        """Call the plane through `client`."""
        self._client = client

    def create(self, logical_id: str, properties: Mapping[str, Any], stack: str) -> tuple[str, Attributes]:
        """Create the group; Ref is its ARN."""
        name = properties.get("ModelPackageGroupName")
        if not name:
            raise ValueError(f"{logical_id}: ModelPackageGroupName is required")
        given = {field: properties[field] for field in ("ModelPackageGroupName", "ModelPackageGroupDescription") if field in properties}
        self._call("CreateModelPackageGroup", {**given, "Tags": _list_tags(properties, stack)})
        return self._describe(str(name))

    def update(self, physical_id: str, old: Mapping[str, Any], new: Mapping[str, Any], stack: str) -> tuple[str, Attributes]:
        """Update the tags; other properties of a group cannot change."""
        name = physical_id.rpartition("/")[2]
        changed = sorted(each for each in ("ModelPackageGroupName", "ModelPackageGroupDescription") if old.get(each) != new.get(each))
        if changed:
            raise ValueError(
                f"CloudFormation cannot update a stack when a custom-named resource requires replacing. {', '.join(changed)} of {name} "
                "cannot change: rename the resource, or remove it first"
            )
        tags = _list_tags(new, stack)
        kept = {tag["Key"] for tag in tags}
        gone = [tag["Key"] for tag in _list_tags(old, stack) if tag["Key"] not in kept]
        if gone:
            self._call("DeleteTags", {"ResourceArn": physical_id, "TagKeys": gone})
        self._call("AddTags", {"ResourceArn": physical_id, "Tags": tags})
        return self._describe(name)

    def delete(self, physical_id: str, _properties: Mapping[str, Any]) -> None:
        """Delete the group; fails for a group with versions, as on AWS. A missing group is not an error."""
        try:
            self._call("DeleteModelPackageGroup", {"ModelPackageGroupName": physical_id.rpartition("/")[2]})
        except ValueError as error:
            if "does not exist" not in str(error):
                raise

    def drop_ownerless(self, stacks: Callable[[], set[str]]) -> None:
        """Delete empty groups of missing stacks, which an engine leaves behind when it is killed during a deployment.

        The plane may start late, so `stacks` returns the stacks' names after a group was read: a stack exists before its group.
        """
        try:
            groups = self._call("ListModelPackageGroups", {"MaxResults": 100})["ModelPackageGroupSummaryList"]
            for arn in [group["ModelPackageGroupArn"] for group in groups]:
                tags = self._call("ListTags", {"ResourceArn": arn})["Tags"]
                owners = {tag["Value"] for tag in tags if tag["Key"] == STACK_TAG}
                if owners and not owners & stacks():
                    # Groups with versions were kept on purpose; the plane does not delete them.
                    self._client.call("DeleteModelPackageGroup", {"ModelPackageGroupName": arn.rpartition("/")[2]})
        except (ValueError, PlaneUnreachableError) as error:
            log.warning("model package groups without a stack could not be deleted: %s", error)

    def _describe(self, name: str) -> tuple[str, Attributes]:
        group = self._call("DescribeModelPackageGroup", {"ModelPackageGroupName": name})
        arn = str(group["ModelPackageGroupArn"])
        attributes = {"ModelPackageGroupArn": arn, "ModelPackageGroupStatus": group["ModelPackageGroupStatus"]}
        return arn, {**attributes, "CreationTime": str(group["CreationTime"])}

    def _call(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        answer = self._client.call(operation, request)
        document = answer.document()
        if answer.status >= 400:
            raise ValueError(f"{document.get('message', '')} (Service: SageMaker, Status Code: {answer.status})")
        return document


def _list_tags(properties: Mapping[str, Any], stack: str) -> list[dict[str, str]]:
    tags = {str(tag["Key"]): str(tag["Value"]) for tag in properties.get("Tags") or ()}
    return [{"Key": key, "Value": value} for key, value in {**tags, STACK_TAG: stack}.items()]
