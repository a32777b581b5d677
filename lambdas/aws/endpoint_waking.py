"""Waking the endpoint: what POST /predict does where nobody answers, because StopIdleEndpoint deleted an endpoint that was not used.

Runs inside `invoke_endpoint`. The newest deployed version in the registry names the endpoint config that was served last; where it still
exists, the endpoint is created with it again, and the client is told when to come back. `whippet down` deletes the configs, so that nothing
wakes after it; neither does anything before the first deployment. What was found is remembered for some seconds, so that a crowd of
requests does not ask SageMaker again and again; where two workers wake the endpoint at once, SageMaker refuses the second, which is fine.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from lambdas.aws.clients import code_of, message_of
from lambdas.aws.endpoint import Endpoint, describe_config, look_at_endpoint
from lambdas.aws.jobs import run_of
from lambdas.aws.log import log
from lambdas.aws.model_registry import newest_deployed

REMEMBERED_S = 15.0

STARTS_IN = 300
"""Seconds until a client should ask again after an endpoint was created: most are there after five minutes."""
MOVES_IN = 60
SOON = 30

Timer = Callable[[], float]


@dataclass(frozen=True)
class Waking:
    """What a client is told, with status 503."""

    sentence: str
    retry_after: int
    """Seconds."""


class Alarm:
    """Wakes one endpoint; each warm worker has one."""

    def __init__(self, sagemaker: Any, endpoint: str, group: str, timer: Timer = time.monotonic) -> None:
        """`group`: the model package group, whose newest deployed version is what to wake."""
        self.sagemaker, self.endpoint, self.group, self.timer = sagemaker, endpoint, group, timer
        self.last: Waking | None = None
        self.looked = 0.0

    def wake(self) -> Waking | None:
        """What to tell the client; None where there is nothing to wake."""
        if not self.looked or self.timer() - self.looked > REMEMBERED_S:
            self.last, self.looked = self.look(), self.timer()
        return self.last

    def look(self) -> Waking | None:
        """The same, asked of SageMaker."""
        found = look_at_endpoint(self.sagemaker, self.endpoint)
        return self.create() if found is None else self.tell(found)

    def tell(self, found: Endpoint) -> Waking | None:
        """About an endpoint that is there and yet did not answer."""
        if found.status == "Creating":
            return Waking(f"the endpoint {self.endpoint} is being started; try again in a minute", MOVES_IN)
        if found.status == "Deleting":
            return Waking(f"the endpoint {self.endpoint} is just being stopped; ask again in a minute to start it", MOVES_IN)
        if found.status == "Failed":
            return Waking(f"the endpoint {self.endpoint} could not be started; it is tried again later", STARTS_IN)
        if found.status == "InService":
            return Waking(f"the endpoint {self.endpoint} has just come back; try again in a moment", SOON)
        return None

    def create(self) -> Waking | None:
        """With the config that was served last; None where that was deleted, or where nothing was ever deployed."""
        newest = newest_deployed(self.sagemaker, self.group)
        if newest is None or describe_config(self.sagemaker, newest.endpoint_config) is None:
            return None
        config = newest.endpoint_config
        try:
            self.sagemaker.create_endpoint(EndpointName=self.endpoint, EndpointConfigName=config, Tags=self.tags(config))
        except ClientError as error:
            return self.tell_why_not(error)
        log("EndpointWoken", execution=run_of(config), endpoint=self.endpoint, endpoint_config=config)
        return Waking(f"the endpoint {self.endpoint} was asleep and is being started; try again in five minutes", STARTS_IN)

    def tell_why_not(self, error: ClientError) -> Waking:
        """Somebody else was quicker, or there is no machine to be had; any other error is raised."""
        if "already existing" in message_of(error):
            return Waking(f"the endpoint {self.endpoint} is being started; try again in a minute", MOVES_IN)
        if code_of(error) != "ResourceLimitExceeded":
            raise error
        log("EndpointNotWoken", endpoint=self.endpoint, reason=message_of(error))
        return Waking(f"the endpoint {self.endpoint} is asleep, and there is no machine for it now; try again in five minutes", STARTS_IN)

    def tags(self, config: str) -> list[dict[str, str]]:
        """Those that the state machine gives it."""
        return [{"Key": "project", "Value": self.endpoint}, {"Key": "execution", "Value": run_of(config)}]
