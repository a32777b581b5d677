"""Models and endpoint configs of the SageMaker plane, the documents behind an endpoint.

Runs in the SageMaker plane.
"""

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from local.api.account import build_arn
from local.api.errors import validation_error
from local.api.feature_support import reject_unsupported
from local.storage.listing import Listing, list_documents
from local.storage.store import Document, Store

MODEL = "model"
_GPU_IMAGE = re.compile(r"[-:.](gpu|cu\d+)\b")
ENDPOINT_CONFIG = "endpoint-config"


class Models:
    """CreateModel and its siblings."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        """Keep models in `store`."""
        self._store = store
        self._clock = clock

    def create(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """CreateModel; the artefact is first read by an endpoint, as on AWS."""
        reject_unsupported("CreateModel", request)
        name, arn = request["ModelName"], build_arn(MODEL, request["ModelName"])
        if not request.get("PrimaryContainer", {}).get("ModelDataUrl"):
            raise validation_error(
                "PrimaryContainer.ModelDataUrl is required: local mode serves the artefact of a training job, not an image"
            )
        document = {**_drop_tags(request), "ModelArn": arn, "CreationTime": self._clock()}
        if not self._store.create(MODEL, name, document):
            raise validation_error(f'Cannot create already existing model "{arn}".')
        return {"ModelArn": arn}

    def describe(self, name: str) -> Document:
        """DescribeModel."""
        return _require(self._store.get(MODEL, name), f'Could not find model "{build_arn(MODEL, name)}".')

    def delete(self, name: str) -> None:
        """DeleteModel."""
        self.describe(name)
        self._store.delete(MODEL, name)

    def list_models(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """ListModels."""
        return list_documents(self._store.list_all(MODEL), request, Listing("Models", "ModelName"))


class EndpointConfigs:
    """CreateEndpointConfig and its siblings."""

    def __init__(self, store: Store, models: Models, clock: Callable[[], float] = time.time) -> None:
        """Keep endpoint configs in `store`; their models must exist in `models`."""
        self._store = store
        self._models = models
        self._clock = clock

    def create(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """CreateEndpointConfig, with one production variant."""
        reject_unsupported("CreateEndpointConfig", request)
        variants = request["ProductionVariants"]
        if len(variants) != 1:
            raise validation_error(f"ProductionVariants: {len(variants)} variants are not supported in local mode: supported: 1")
        reject_unsupported("ProductionVariant", variants[0], f"ProductionVariants[{variants[0]['VariantName']}].")
        if "ModelName" not in variants[0]:
            raise validation_error("ProductionVariants: ModelName is required")
        _check_capacity(variants[0], self._models.describe(variants[0]["ModelName"]))
        name, arn = request["EndpointConfigName"], build_arn(ENDPOINT_CONFIG, request["EndpointConfigName"])
        document = {**_drop_tags(request), "EndpointConfigArn": arn, "CreationTime": self._clock()}
        if not self._store.create(ENDPOINT_CONFIG, name, document):
            raise validation_error(f'Cannot create already existing endpoint configuration "{arn}".')
        return {"EndpointConfigArn": arn}

    def describe(self, name: str) -> Document:
        """DescribeEndpointConfig."""
        return _require(
            self._store.get(ENDPOINT_CONFIG, name), f'Could not find endpoint configuration "{build_arn(ENDPOINT_CONFIG, name)}".'
        )

    def delete(self, name: str) -> None:
        """DeleteEndpointConfig."""
        self.describe(name)
        self._store.delete(ENDPOINT_CONFIG, name)

    def list_configs(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """ListEndpointConfigs."""
        return list_documents(self._store.list_all(ENDPOINT_CONFIG), request, Listing("EndpointConfigs", "EndpointConfigName"))


def _check_capacity(variant: Mapping[str, Any], model: Document) -> None:
    """Reject a variant with both instances and serverless, and a serverless one with a GPU image or network isolation."""
    serverless = variant.get("ServerlessConfig")
    if serverless is None:
        return
    faults = []
    if "InstanceType" in variant or "InitialInstanceCount" in variant:
        faults.append("ServerlessConfig together with InstanceType or InitialInstanceCount: a variant has one of the two")
    if serverless["MemorySizeInMB"] % 1024:
        faults.append(f"ServerlessConfig.MemorySizeInMB {serverless['MemorySizeInMB']}: it must be 1024, 2048, 3072, 4096, 5120 or 6144")
    if model.get("EnableNetworkIsolation"):
        faults.append(f"Network isolation is not supported for serverless endpoints: the model {model['ModelName']} has it enabled")
    if _GPU_IMAGE.search(image := model["PrimaryContainer"].get("Image", "")):
        faults.append(f"{image} is a GPU image, but serverless endpoints run on CPUs: use the CPU image")
    if faults:
        raise validation_error(f"ProductionVariants[{variant['VariantName']}]: " + "; ".join(faults))


def _require(document: Document | None, message: str) -> Document:
    if document is None:
        raise validation_error(message)
    return document


def _drop_tags(request: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in request.items() if key != "Tags"}
