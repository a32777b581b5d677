"""Names of jobs that no other execution has."""

from typing import Any


def new_names(asked: dict[str, Any]) -> list[str]:
    made = ("ProcessingJobName", "HyperParameterTuningJobName", "TrainingJobName", "ModelName")
    return [asked[each] for each in made if each in asked] + ([asked["EndpointConfigName"]] if "ProductionVariants" in asked else [])
