"""The model registry of the SageMaker plane: model package groups, and the model packages that are their versions.

Runs in the SageMaker plane. A version is only a document, so it is Completed at once, as on AWS. Version numbers are not reused after
a deletion. Versions cannot have tags; their metadata is in CustomerMetadataProperties.
"""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from local.api.account import build_arn
from local.api.errors import ServiceError, validation_error
from local.api.feature_support import reject_unsupported
from local.storage.listing import Listing, list_documents
from local.storage.store import Document, Store

GROUP = "model-package-group"
PACKAGE = "model-package"
MOST_PROPERTIES = 50
GROUPS = Listing("ModelPackageGroupSummaryList", "ModelPackageGroupName", sort_order="Ascending")
PACKAGES = Listing("ModelPackageSummaryList", "_order", sort_order="Ascending")
NO_TAGS = "Tags are not supported in Model Package versions. Please add them to the Model Package Group."


class ModelPackages:
    """CreateModelPackageGroup and CreateModelPackage, and their siblings."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        """Keep groups and versions in `store`."""
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()

    def create_group(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """CreateModelPackageGroup."""
        reject_unsupported("CreateModelPackageGroup", request)
        name, arn = request["ModelPackageGroupName"], build_arn(GROUP, request["ModelPackageGroupName"])
        given = {key: value for key, value in request.items() if key != "Tags"}
        made = {"ModelPackageGroupArn": arn, "ModelPackageGroupStatus": "Completed", "CreationTime": self._clock(), "CreatedBy": {}}
        if not self._store.create(GROUP, name, {**given, **made, "_versions": 0}):
            raise validation_error(f"Model Package Group already exists: {arn}")
        return {"ModelPackageGroupArn": arn}

    def describe_group(self, name: str) -> Document:
        """DescribeModelPackageGroup, by name or ARN."""
        document = self._store.get(GROUP, _read_last_part(name))
        if document is None:
            raise validation_error(f"ModelPackageGroup {build_arn(GROUP, _read_last_part(name))} does not exist.")
        return document

    def list_groups(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """ListModelPackageGroups."""
        groups = [] if request.get("CrossAccountFilterOption") == "CrossAccount" else self._store.list_all(GROUP)
        return list_documents(groups, request, GROUPS)

    def delete_group(self, name: str) -> None:
        """DeleteModelPackageGroup; raises ConflictException for a group with versions."""
        with self._lock:
            group = self.describe_group(name)
            if self._list_versions(group["ModelPackageGroupName"]):
                raise ServiceError("ConflictException", "Model Package Group cannot be deleted because it still contains Model Packages.")
            self._store.delete(GROUP, group["ModelPackageGroupName"])

    def create(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """CreateModelPackage: the next version of a group; a repeated ClientToken returns its existing version."""
        reject_unsupported("CreateModelPackage", request)
        if request.get("Tags"):
            raise validation_error(NO_TAGS)
        if "ModelPackageGroupName" not in request:
            raise validation_error("ModelPackageGroupName is required: local mode stores model packages as versions of a group")
        with self._lock:
            group = self.describe_group(request["ModelPackageGroupName"])
            token = request.get("ClientToken")
            for version in self._list_versions(group["ModelPackageGroupName"]) if token else ():
                if version.get("_token") == token:
                    return {"ModelPackageArn": version["ModelPackageArn"]}
            return {"ModelPackageArn": self._add_version(group, request)}

    def describe(self, arn: str) -> Document:
        """DescribeModelPackage: a version is identified by its ARN."""
        document = self._store.get(PACKAGE, _read_last_part(arn, 2).replace("/", "."))
        if document is None or document["ModelPackageArn"] != arn:
            raise validation_error(f"ModelPackage {build_arn(PACKAGE, arn)} does not exist.")
        return document

    def list_packages(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """ListModelPackages: the versions of one group, or of all; by default AWS lists packages outside groups, which local mode lacks."""
        group, kind = request.get("ModelPackageGroupName"), request.get("ModelPackageType", "Unversioned")
        if group is not None:
            found = self._list_versions(self.describe_group(group)["ModelPackageGroupName"])
        else:
            found = self._store.list_all(PACKAGE) if kind in ("Versioned", "Both") else []
        approval = request.get("ModelApprovalStatus")
        return list_documents([each for each in found if approval in (None, each["ModelApprovalStatus"])], request, PACKAGES)

    def update(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """UpdateModelPackage: the approval, its description, and the metadata."""
        reject_unsupported("UpdateModelPackage", request)
        arn = request["ModelPackageArn"]
        with self._lock:
            package = self.describe(arn)
            properties = {**package.get("CustomerMetadataProperties", {}), **request.get("CustomerMetadataProperties", {})}
            for name in request.get("CustomerMetadataPropertiesToRemove", ()):
                properties.pop(name, None)
            if len(properties) > MOST_PROPERTIES:
                raise validation_error(
                    f"CustomerMetadataProperties would be {len(properties)}; a model package holds at most {MOST_PROPERTIES}"
                )
            changes = {field: request[field] for field in ("ModelApprovalStatus", "ApprovalDescription") if field in request}
            changes |= {"CustomerMetadataProperties": properties or None, "LastModifiedTime": self._clock(), "LastModifiedBy": {}}
            self._store.update(PACKAGE, _read_last_part(arn, 2).replace("/", "."), **changes)
        return {"ModelPackageArn": arn}

    def delete(self, arn: str) -> None:
        """DeleteModelPackage."""
        with self._lock:
            self.describe(arn)
            self._store.delete(PACKAGE, _read_last_part(arn, 2).replace("/", "."))

    def _add_version(self, group: Document, request: Mapping[str, Any]) -> str:
        name, number = group["ModelPackageGroupName"], group["_versions"] + 1
        arn = build_arn(PACKAGE, f"{name}/{number}")
        document = {
            **{key: value for key, value in request.items() if key not in ("ClientToken", "Tags")},
            "ModelPackageGroupName": name,
            "ModelPackageVersion": number,
            "ModelPackageArn": arn,
            "ModelPackageStatus": "Completed",
            "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
            "ModelApprovalStatus": request.get("ModelApprovalStatus", "PendingManualApproval"),
            "CreationTime": self._clock(),
            "CreatedBy": {},
            "_order": f"{name}/{number:09d}",
            "_token": request.get("ClientToken"),
        }
        self._store.update(GROUP, name, _versions=number)
        self._store.create(PACKAGE, f"{name}.{number}", document)
        return arn

    def _list_versions(self, group: str) -> list[Document]:
        return self._store.list_all(PACKAGE, lambda each: each["ModelPackageGroupName"] == group)


def _read_last_part(name: str, parts: int = 1) -> str:
    """Return the part of an ARN after the kind: a group's name, or a version's `group/number`; a plain name stays."""
    return "/".join(name.split("/")[-parts:])
