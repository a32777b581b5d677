"""What a machine of one's own never lacks, rehearsed: instance types that AWS has no capacity of, or the account no quota for.

Runs in the SageMaker plane, which reads $WHIPPET_REHEARSE when it starts; nothing is rehearsed without it:

    WHIPPET_REHEARSE="ml.p5.48xlarge=CapacityError,ml.g5.xlarge=ResourceLimitExceeded" whippet up --local
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from local.api.shapes import ServiceError

VARIABLE = "WHIPPET_REHEARSE"
CAPACITY, QUOTA = "CapacityError", "ResourceLimitExceeded"
NO_CAPACITY = "CapacityError: Unable to provision requested ML compute capacity. Please retry using a different ML instance type."


@dataclass(frozen=True)
class Rehearsal:
    """Which instance types are lacking, and how."""

    lacking: Mapping[str, str] = field(default_factory=dict)
    """Instance type -> CapacityError (its jobs fail after they were created) or ResourceLimitExceeded (its jobs are not created)."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `instance type=error,…`; raises ValueError with what is wrong."""
        lacking = {}
        for part in filter(None, (each.strip() for each in text.split(","))):
            instance_type, separator, error = (each.strip() for each in part.partition("="))
            if not separator or not instance_type.startswith("ml.") or error not in (CAPACITY, QUOTA):
                raise ValueError(
                    f"{VARIABLE} has {part!r}: give instance types and what they are to lack, {CAPACITY} or {QUOTA}, "
                    f"such as ml.p5.48xlarge={CAPACITY},ml.g5.xlarge={QUOTA}"
                )
            lacking[instance_type] = error
        return cls(lacking)

    def failure(self, instance_type: str) -> str:
        """The FailureReason of a job on this instance type, for which there is no capacity; empty where there is."""
        return NO_CAPACITY if self.lacking.get(instance_type) == CAPACITY else ""

    def check_quota(self, kind: str, instance_type: str, instances: int) -> None:
        """Raise ResourceLimitExceeded where the account may not have these instances for jobs of this kind, `training` or `processing`."""
        if self.lacking.get(instance_type) == QUOTA:
            raise ServiceError(
                QUOTA,
                f"The account-level service limit '{instance_type} for {kind} job usage' is 0 Instances, with current utilization of "
                f"0 Instances and a request delta of {instances} Instances. Please use AWS Service Quotas to request an increase for this "
                "quota. If AWS Service Quotas is not available, contact AWS support to request an increase for this quota.",
            )
