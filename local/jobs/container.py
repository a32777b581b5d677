"""What jobs and model servers share: clients, folders, the environment variables of a container, and how a job ended.

Runs in the SageMaker plane.
"""

import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from local.api.fault_injection import InjectedFaults
from local.host.processes import REPOSITORY, PidFiles
from local.image_environment import ImageEnvironment
from local.storage.objects import ChannelCache
from local.storage.role_sessions import RoleSessions

OPT_ML = "/opt/ml"
REASON_LIMIT = 1024
# Matches /opt/ml at the start of a path. It does not match the end of another path, such as ${P}/opt/ml, ~/opt/ml, */opt/ml and
# "$P"/opt/ml, but it matches r"/opt/ml" and ${P:-/opt/ml}. It does not match /opt/ml2 and /opt/ml.bak, but it matches before the
# full stop of a sentence.
_OPT_ML_PATH = re.compile(
    rf"""
    (?<! [\w/.}})\]*?~] ) (?<! [^:]- )
    (?: (?<! [\w}})\]*?~]["'] ) | (?<= (?<![\w$])[bfru]["'] ) )
    {OPT_ML}
    (?! [\w-] | \.(?! [\s"'`,;:)] | $ ) )
    """,
    re.VERBOSE,
)
# The variables that a job inherits from the machine: library and certificate paths, locale. None of AWS.
INHERITED = (
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "LD_LIBRARY_PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CUDA_VISIBLE_DEVICES",
)

Document = dict[str, Any]


@dataclass(frozen=True)
class JobTools:
    """What jobs share: clients for the engine, the image environment, folders, and the variables that point to the engine."""

    s3: Any
    logs: Any
    image: ImageEnvironment
    home: Path
    channels: ChannelCache
    processes: PidFiles
    aws: Mapping[str, str]
    clock: Callable[[], float] = time.time
    programs: Path = REPOSITORY
    """The folder from which programs beside a training job, such as training.rule_evaluation.evaluate, are imported."""
    faults: InjectedFaults = field(default_factory=InjectedFaults)
    """The injected failures."""
    roles: RoleSessions | None = None
    """The role sessions of strict local mode; without them all work runs with the user's permissions."""

    def assume_role(self, role: str) -> "JobTools":
        """Return the tools for a job or a model with this role's ARN; raises ServiceError if the role cannot be assumed."""
        if self.roles is None:
            return self
        acting = self.roles.assume(role)
        return replace(self, s3=acting.s3, logs=acting.logs, channels=acting.channels, aws={**self.aws, **acting.variables})


@dataclass
class Outcome:
    """How a job ended: its status and the failure reason.

    A training job also has the last value and time of each metric and its artefact's URI, a processing job its exit message.
    """

    status: str = "Completed"
    reason: str = ""
    metrics: dict[str, tuple[float, float]] = field(default_factory=dict)
    artefact: str = ""
    exit_message: str = ""


def translate_paths(value: str, base: Path) -> str:
    """Replace /opt/ml with `base` wherever it is or starts a path in `value`, also inside a shell command."""
    return _OPT_ML_PATH.sub(lambda _match: str(base), value)


def count_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def build_environment(tools: JobTools, base: Path, threads: int, isolated: bool) -> dict[str, str]:
    """Build a job's environment variables: the image's programs first, its own folders, `threads` cores, AWS unless `isolated`."""
    inherited = {name: value for name, value in os.environ.items() if name in INHERITED or name.startswith("PIP_")}
    return {
        **inherited,
        "PATH": f"{tools.image.bin}:{os.environ.get('PATH', os.defpath)}",
        "HOME": str(base / "home"),
        "TMPDIR": str(base / "tmp"),
        "PYTHONUNBUFFERED": "1",
        "AWS_REGION": tools.aws["AWS_REGION"],
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",
        **({} if isolated else {**tools.aws, "S3_ENDPOINT_URL": tools.aws["AWS_ENDPOINT_URL"]}),
    }


def build_host_document(instance_type: str) -> Document:
    """Build resourceconfig.json for a job on one instance."""
    host = {"current_host": "algo-1", "current_instance_type": instance_type, "current_group_name": "homogeneousCluster"}
    return {**host, "hosts": ["algo-1"], "instance_groups": [], "network_interface_name": "lo"}
