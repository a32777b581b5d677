"""The AWS clients of the functions that tidy up: patient, because their calls come in bursts and SageMaker throttles lists and looks.

Runs in AWS Lambda. The state machine, EventBridge or a schedule waits for the answer, no person does.
"""

from functools import cache
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

PATIENT = Config(connect_timeout=5, read_timeout=60, retries={"mode": "standard", "total_max_attempts": 8})
"""Eight tries with growing pauses, up to 20 seconds each: throttling and hiccups never reach the code."""

FAULTS = (ClientError, BotoCoreError)
"""What a call may end in: the service's refusal, or no answer."""


@cache
def client(service: str) -> Any:
    """One client of each service for each warm worker."""
    return boto3.client(service, config=PATIENT)


def code_of(error: Exception) -> str:
    """The service's name of the error; empty where no service answered."""
    return str(error.response["Error"]["Code"]) if isinstance(error, ClientError) else ""


def message_of(error: Exception) -> str:
    """What went wrong, without a full stop, for the end of a sentence."""
    told = error.response["Error"].get("Message") if isinstance(error, ClientError) else None
    return (str(told or error) or type(error).__name__).rstrip(". :")


def is_absent(error: Exception) -> bool:
    """Whether the service says that there is no such thing: SageMaker has a code of its own for some kinds, and only a text for others."""
    absent = {"ResourceNotFound", "ResourceNotFoundException", "ObjectNotFoundException"}
    return code_of(error) in absent or "could not find" in message_of(error).lower()
