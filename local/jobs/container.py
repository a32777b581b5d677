"""What every kind of job and the model servers share: clients, folders, the environment of a container, and how a job ended.

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
# /opt/ml where a path begins. What is joined to something before it is the end of another path, such as ${P}/opt/ml, ~/opt/ml,
# */opt/ml and "$P"/opt/ml; r"/opt/ml" and ${P:-/opt/ml} are not. The folder's name ends there: /opt/ml2 and /opt/ml.bak are others,
# while the full stop after a sentence's last word is not of the name.
_OPT_ML_PATH = re.compile(
    rf"""
    (?<! [\w/.}})\]*?~] ) (?<! [^:]- )
    (?: (?<! [\w}})\]*?~]["'] ) | (?<= (?<![\w$])[bfru]["'] ) )
    {OPT_ML}
    (?! [\w-] | \.(?! [\s"'`,;:)] | $ ) )
    """,
    re.VERBOSE,
)
# What a job inherits from the machine: where programs and certificates are and how pip reaches an index. Nothing of AWS.
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
    """What jobs share: clients of the engine, the image environment, folders, and the environment that reaches the engine."""

    s3: Any
    logs: Any
    image: ImageEnvironment
    home: Path
    channels: ChannelCache
    processes: PidFiles
    aws: Mapping[str, str]
    clock: Callable[[], float] = time.time
    programs: Path = REPOSITORY
    """Where the programs that run beside a training job, such as training.rule_evaluation.evaluate, are imported from."""
    faults: InjectedFaults = field(default_factory=InjectedFaults)
    """Which instance types are to be lacking."""
    roles: RoleSessions | None = None
    """Strict local mode's way to work with a role's permissions; without it everything is done as the user."""

    def assume_role(self, role: str) -> "JobTools":
        """The tools of a job or a model that was given the role with this ARN; ServiceError where the role cannot be assumed."""
        if self.roles is None:
            return self
        acting = self.roles.assume(role)
        return replace(self, s3=acting.s3, logs=acting.logs, channels=acting.channels, aws={**self.aws, **acting.variables})


@dataclass
class Outcome:
    """How a job ended: its status and the failure reason; then what one kind of job alone has.

    A training job has the last value and time of each metric and where its artefact lies, a processing job its exit message.
    """

    status: str = "Completed"
    reason: str = ""
    metrics: dict[str, tuple[float, float]] = field(default_factory=dict)
    artefact: str = ""
    exit_message: str = ""


def translate(value: str, base: Path) -> str:
    """`value` with /opt/ml replaced by `base` wherever it is a path or begins one, also inside the text of a shell command."""
    return _OPT_ML_PATH.sub(lambda _match: str(base), value)


def usable_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def container_environment(tools: JobTools, base: Path, threads: int, isolated: bool) -> dict[str, str]:
    """The variables that a job starts with: the image's programs first, folders of its own, `threads` cores, AWS unless `isolated`."""
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


def host_document(instance_type: str) -> Document:
    """resourceconfig.json of a job on one instance."""
    host = {"current_host": "algo-1", "current_instance_type": instance_type, "current_group_name": "homogeneousCluster"}
    return {**host, "hosts": ["algo-1"], "instance_groups": [], "network_interface_name": "lo"}
