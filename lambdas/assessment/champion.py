"""The champion: the newest version of the project's model package group that was approved, deployed and verified; how the new model does.

Runs inside AssessModel. A champion that cannot be compared with keeps no model back, for whatever happened to its report must not end all
deployments: a warning says why there was no comparison, and the execution goes on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError, ParamValidationError

from lambdas.assessment.comparison import Comparison, Predictions, compare, read_predictions
from lambdas.assessment.report_files import REPORT, DocumentError
from lambdas.aws.clients import code_of, is_absent, message_of
from lambdas.aws.model_registry import newest_deployed

LEAST_PHOTOS = 30
"""Test photos that both models must have in common: with fewer, only a collapse would be told from chance."""


@dataclass(frozen=True)
class Champion:
    """The model that was deployed last."""

    package: str
    """ARN of the model package."""
    metadata: Mapping[str, str]

    @property
    def version(self) -> str:
        """Its number in the group, which its ARN ends in."""
        return self.package.rpartition("/")[2]

    @property
    def folder(self) -> str:
        """What its training job left, `s3://…`, with the report in it; empty where no report was recorded."""
        return self.metadata.get("report", "").rstrip("/").removesuffix(f"/{REPORT}")


def find_champion(sagemaker: Any, group: str, warnings: list[str]) -> Champion | None:
    """The model to compare with; None before the first deployment, and where the registry has no such group, which a warning tells."""
    try:
        found = newest_deployed(sagemaker, group)
    except ClientError as error:
        if not is_absent(error) and "does not exist" not in message_of(error):
            raise
        warnings.append(f"the model registry knows no champion to compare with: {message_of(error)}")
        return None
    return Champion(found.arn, found.metadata) if found else None


def compare_with(champion: Champion, folder: str, s3: Any, warnings: list[str]) -> Comparison | None:
    """The new model, whose job left `folder`, beside the champion; None and a warning where that says nothing."""
    try:
        new = read_predictions(s3, folder)
        old = champion_predictions(champion, s3)
    except DocumentError as error:
        warnings.append(not_comparable(champion, str(error)))
        return None
    comparison = compare(new, old)
    if comparison.pairs.photos < LEAST_PHOTOS:
        others = f" (and {comparison.relabelled} that show another class now)" if comparison.relabelled else ""
        common = f"both were tested on {comparison.pairs.photos} photos in common{others}, and {LEAST_PHOTOS} are needed"
        warnings.append(not_comparable(champion, common))
        return None
    return comparison


def champion_predictions(champion: Champion, s3: Any) -> Predictions:
    """What it called its test photos; DocumentError also where the registry names no place that S3 lets us read."""
    if not champion.folder:
        raise DocumentError("no report is recorded for it")
    try:
        return read_predictions(s3, champion.folder)
    except ParamValidationError as error:
        raise DocumentError(f"its report is said to lie at {champion.folder[:100]!r}, which is no address in S3") from error
    except ClientError as error:
        if not is_refused(error):
            raise
        raise DocumentError(f"S3 does not show its report in {champion.folder} ({code_of(error)})") from error


def not_comparable(champion: Champion, why: str) -> str:
    """The sentence of a warning."""
    return f"the champion, version {champion.version}, cannot be compared with: {why}; so it keeps no model back"


def is_refused(error: ClientError) -> bool:
    """Whether asking again would give the same answer: another account's bucket, or one that is gone."""
    return code_of(error) in ("AccessDenied", "NoSuchBucket", "InvalidBucketName", "PermanentRedirect", "KeyTooLongError")
