"""Our table of image accounts against the tables inside the SageMaker SDK, which is read as files and never imported."""

import importlib.util
import json
from pathlib import Path
from typing import Any

from stacks.images import ACCOUNTS, SERVING_REPOSITORY, SERVING_TAGS, TRAINING_REPOSITORY, TRAINING_TAGS


def table(name: str) -> Any:
    package = importlib.util.find_spec("sagemaker")
    assert package is not None
    (folder,) = [Path(each) for each in package.submodule_search_locations or []]
    return json.loads((folder / "core" / "image_uri_config" / f"{name}.json").read_text())


def test_the_training_image_is_where_the_sdk_says() -> None:
    version = table("pytorch-amzn2023")["training"]["versions"]["2.13"]
    assert version["registries"] == ACCOUNTS
    assert version["repository"] == TRAINING_REPOSITORY
    assert {kind: f"{version['tag_prefix']}-{tail}" for kind, tail in version["container_version"].items()} == TRAINING_TAGS


def test_the_serving_image_is_where_the_sdk_says() -> None:
    version = table("ray-serve")["versions"]["1.4"]
    assert version["registries"] == ACCOUNTS
    assert version["repository"] == SERVING_REPOSITORY
    assert {kind: f"{version['tag_prefix']}-{tail}" for kind, tail in version["container_version"].items()} == SERVING_TAGS
