"""Injects failures that one machine never has: instance types without capacity on AWS, or without quota in the account.

Runs in the SageMaker plane, which reads $WHIPPET_REHEARSE when it starts; nothing is injected without it:

    WHIPPET_REHEARSE="ml.p5.48xlarge=CapacityError,ml.g5.xlarge=ResourceLimitExceeded" whippet up --local
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from local.api.errors import ServiceError

VARIABLE = "WHIPPET_REHEARSE"
CAPACITY, QUOTA = "CapacityError", "ResourceLimitExceeded"
NO_CAPACITY = "CapacityError: Unable to provision requested ML compute capacity. Please retry using a different ML instance type."


@dataclass(frozen=True)
class InjectedFaults:
    """The instance types that are unavailable, and the error for each."""

    errors: Mapping[str, str] = field(default_factory=dict)
    """Instance type -> CapacityError (its jobs are created, then fail) or ResourceLimitExceeded (its jobs are not created)."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `instance type=error,…`; raises ValueError for a part that has another form."""
        errors = {}
        for part in filter(None, (each.strip() for each in text.split(","))):
            instance_type, separator, error = (each.strip() for each in part.partition("="))
            if not separator or not instance_type.startswith("ml.") or error not in (CAPACITY, QUOTA):
                raise ValueError(
                    f"{VARIABLE} contains {part!r}, which is not <instance type>={CAPACITY} or <instance type>={QUOTA}: "
                    f"write for instance ml.p5.48xlarge={CAPACITY},ml.g5.xlarge={QUOTA}"
                )
            errors[instance_type] = error
        return cls(errors)

    def find_failure(self, instance_type: str) -> str:
        """Return the FailureReason of a job on this instance type, empty unless it lacks capacity."""
        return NO_CAPACITY if self.errors.get(instance_type) == CAPACITY else ""

    def check_quota(self, kind: str, instance_type: str, instances: int) -> None:
        """Raise ResourceLimitExceeded if the instance type lacks quota for jobs of this kind, `training` or `processing`."""
        if self.errors.get(instance_type) == QUOTA:
            raise ServiceError(
                QUOTA,
                f"The account-level service limit '{instance_type} for {kind} job usage' is 0 Instances, with current utilization of "
                f"0 Instances and a request delta of {instances} Instances. Please use AWS Service Quotas to request an increase for this "
                "quota. If AWS Service Quotas is not available, contact AWS support to request an increase for this quota.",
            )
