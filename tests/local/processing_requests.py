"""Processing jobs, as a client requests them."""

from typing import Any

from tests.local.conftest import IMAGE, ROLE, Local, archive

ENTRYPOINT = [
    "/bin/bash",
    "-c",
    "mkdir -p /opt/ml/processing/code && tar -xzf /opt/ml/processing/input/code/source.tar.gz -C /opt/ml/processing/code"
    ' && exec python3 /opt/ml/processing/code/program.py "$@"',
    "program",
]


def place(field: str, name: str, uri: str, path: str, **members: str) -> dict[str, Any]:
    return {field.replace("S3", "") + "Name": name, field: {"S3Uri": uri, "LocalPath": f"/opt/ml/processing/{path}", **members}}


def processing_request(local: Local, name: str, source: str, *arguments: str, **fields: Any) -> dict[str, Any]:
    """A CreateProcessingJob request that runs the program `source`, with an input of photos and both kinds of outputs."""
    code = local.put(f"code/{name}/source.tar.gz", archive({"program.py": source}))
    photos = local.put(f"photos/{name}/rook/one 100%+ü.jpg", b"1").rpartition("rook/")[0]
    file = {"S3DataType": "S3Prefix", "S3InputMode": "File"}
    target = f"s3://{local.bucket}/processed/{name}"
    outputs = [
        place("S3Output", "dataset", f"{target}/dataset", "output/dataset", S3UploadMode="EndOfJob"),
        place("S3Output", "report", f"{target}/report/", "output/report", S3UploadMode="Continuous"),
    ]
    request = {
        "ProcessingJobName": name,
        "ProcessingInputs": [
            place("S3Input", "photos", photos, "input/photos", **file),
            place("S3Input", "code", code.rpartition("/")[0], "input/code", **file),
        ],
        "ProcessingOutputConfig": {"Outputs": outputs},
        "ProcessingResources": {"ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5}},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        "AppSpecification": {"ImageUri": IMAGE, "ContainerEntrypoint": ENTRYPOINT, "ContainerArguments": list(arguments) or ["none"]},
        "NetworkConfig": {"EnableNetworkIsolation": True},
        "RoleArn": ROLE,
    }
    return {**request, **fields}
