"""Application Auto Scaling for endpoint variants: stores and describes scalable targets and scaling policies, without scaling.

Runs in the SageMaker plane, because the engine lacks this service. A variant in local mode is one process for any number of
instances, so there is nothing to scale; the calls succeed and fail as on AWS.
"""

import hashlib
import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from local.api.account import ACCOUNT, REGION
from local.api.errors import ServiceError, validation_error
from local.api.validation import drop_nulls, shape_answer, validate
from local.hosting.endpoints import Endpoints
from local.storage.listing import Listing, list_documents
from local.storage.store import Document, Store

SERVICE = "application-autoscaling"
TARGET_PREFIX = "AnyScaleFrontendService."
NAMESPACE, DIMENSION = "sagemaker", "sagemaker:variant:DesiredInstanceCount"
TARGET, POLICY = "scalable-target", "scaling-policy"
MOST_RESULTS = 50
ROLE = (
    f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/sagemaker.application-autoscaling.amazonaws.com/"
    "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
)
_RESOURCE = re.compile(r"endpoint/(?P<endpoint>[^/]+)/variant/(?P<variant>[^/]+)")


class Scaling:
    """RegisterScalableTarget, PutScalingPolicy and their siblings."""

    def __init__(self, store: Store, endpoints: Endpoints, clock: Callable[[], float] = time.time) -> None:
        """Keep targets and policies in `store`; their variants must exist in `endpoints`."""
        self._store, self._endpoints, self._clock = store, endpoints, clock
        self._lock = threading.Lock()

    def call(self, operation: str, request: Any) -> dict[str, Any]:
        """Validate a request, run it, and shape the answer; raises ServiceError."""
        operations: dict[str, Callable[[dict[str, Any]], Mapping[str, Any] | None]] = {
            "RegisterScalableTarget": self.register,
            "DescribeScalableTargets": self.describe_targets,
            "DeregisterScalableTarget": self.deregister,
            "PutScalingPolicy": self.put_policy,
            "DescribeScalingPolicies": self.describe_policies,
            "DeleteScalingPolicy": self.delete_policy,
        }
        validate(operation, request, SERVICE)
        if operation not in operations:
            raise validation_error(f"{operation} is not supported in local mode; supported operations: {', '.join(operations)}")
        request = drop_nulls(request)
        resource = (request["ServiceNamespace"], request.get("ScalableDimension", DIMENSION))
        if resource != (NAMESPACE, DIMENSION):
            raise validation_error(f"{' '.join(resource)} is not supported in local mode: supported: {NAMESPACE} {DIMENSION}")
        if "Tags" in request:
            raise validation_error("Tags of scalable targets are not supported in local mode: remove them. AWS supports them")
        with self._lock:
            return shape_answer(operation, operations[operation](request) or {}, SERVICE)

    def register(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """RegisterScalableTarget: creates a target or changes its limits."""
        known = self._store.get(TARGET, _make_key(request["ResourceId"]))
        limits = {field: request.get(field, (known or {}).get(field)) for field in ("MinCapacity", "MaxCapacity")}
        if None in limits.values():
            raise validation_error("both MinCapacity and MaxCapacity are required for a new scalable target")
        if limits["MinCapacity"] > limits["MaxCapacity"]:
            raise validation_error(f"MinCapacity {limits['MinCapacity']} must be less than or equal to MaxCapacity {limits['MaxCapacity']}")
        self._require_variant(request["ResourceId"])
        made = known or {
            "ServiceNamespace": NAMESPACE,
            "ResourceId": request["ResourceId"],
            "ScalableDimension": DIMENSION,
            "RoleARN": request.get("RoleARN", ROLE),
            "CreationTime": self._clock(),
            "ScalableTargetARN": f"arn:aws:application-autoscaling:{REGION}:{ACCOUNT}:scalable-target/{uuid.uuid4().hex}",
        }
        if "SuspendedState" in request:
            made["SuspendedState"] = request["SuspendedState"]
        self._put(TARGET, _make_key(request["ResourceId"]), {**made, **limits})
        return {"ScalableTargetARN": made["ScalableTargetARN"]}

    def describe_targets(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """DescribeScalableTargets."""
        wanted = request.get("ResourceIds")
        found = self._store.list_all(TARGET, lambda each: wanted is None or each["ResourceId"] in wanted)
        return _list_page(found, request, Listing("ScalableTargets", "ResourceId", sort_order="Ascending"))

    def deregister(self, request: Mapping[str, Any]) -> None:
        """DeregisterScalableTarget; deletes its policies too."""
        if not self._store.delete(TARGET, _make_key(request["ResourceId"])):
            raise _make_not_found("scalable target", request)
        for policy in self._policies(request["ResourceId"]):
            self._store.delete(POLICY, _make_key(policy["ResourceId"], policy["PolicyName"]))

    def put_policy(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """PutScalingPolicy: creates a policy or changes its configuration."""
        if self._store.get(TARGET, _make_key(request["ResourceId"])) is None:
            raise _make_not_found("scalable target", request)
        key = _make_key(request["ResourceId"], request["PolicyName"])
        known = self._store.get(POLICY, key)
        if known is None and "PolicyType" not in request:
            raise validation_error("PolicyType is required for a new scaling policy")
        name = f"resource/{NAMESPACE}/{request['ResourceId']}:policyName/{request['PolicyName']}"
        made = known or {
            "PolicyARN": f"arn:aws:autoscaling:{REGION}:{ACCOUNT}:scalingPolicy:{uuid.uuid4()}:{name}",
            "CreationTime": self._clock(),
        }
        document = {**made, **request, "Alarms": []}
        self._put(POLICY, key, document)
        return {"PolicyARN": document["PolicyARN"], "Alarms": []}

    def describe_policies(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """DescribeScalingPolicies."""
        names = request.get("PolicyNames")
        found = [each for each in self._policies(request.get("ResourceId")) if names is None or each["PolicyName"] in names]
        return _list_page(found, request, Listing("ScalingPolicies", "PolicyName", sort_order="Ascending"))

    def delete_policy(self, request: Mapping[str, Any]) -> None:
        """DeleteScalingPolicy."""
        if not self._store.delete(POLICY, _make_key(request["ResourceId"], request["PolicyName"])):
            raise _make_not_found("scaling policy", request)

    def _policies(self, resource: str | None) -> list[Document]:
        return self._store.list_all(POLICY, lambda each: resource in (None, each["ResourceId"]))

    def _require_variant(self, resource: str) -> None:
        match = _RESOURCE.fullmatch(resource)
        if match is None:
            raise validation_error(f"Unsupported resource ID {resource!r}: it must be endpoint/<name>/variant/<name>")
        try:
            variants = self._endpoints.describe(match["endpoint"]).get("ProductionVariants", ())
        except ServiceError:
            variants = ()
        if match["variant"] not in [each["VariantName"] for each in variants]:
            raise validation_error(f"No SageMaker endpoint variant found for {_describe_resource(resource)}")

    def _put(self, kind: str, key: str, document: Document) -> None:
        if not self._store.create(kind, key, document):
            self._store.update(kind, key, **document)


def _list_page(found: list[Document], request: Mapping[str, Any], listing: Listing) -> dict[str, Any]:
    return list_documents(found, {"MaxResults": MOST_RESULTS, **_read_paging(request)}, listing)


def _read_paging(request: Mapping[str, Any]) -> dict[str, Any]:
    return {field: request[field] for field in ("MaxResults", "NextToken") if field in request}


def _describe_resource(resource: str) -> str:
    return f"service namespace: {NAMESPACE}, resource ID: {resource}, scalable dimension: {DIMENSION}"


def _make_not_found(what: str, request: Mapping[str, Any]) -> ServiceError:
    return ServiceError("ObjectNotFoundException", f"No {what} found for {_describe_resource(request['ResourceId'])}")


def _make_key(*parts: str) -> str:
    """Make a file name from a resource ID, which contains slashes, and a policy's name, which may contain any character."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
