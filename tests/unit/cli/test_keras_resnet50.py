"""The conversion of Keras' weights: the same photo gives the same numbers both ways. Run: `make test`."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from cli.demo.keras_resnet50 import Array, convert, read_tfjs, save
from cli.terminal.errors import RefusedError

CAFFE_MEAN_BGR = np.array([103.939, 116.779, 123.68])
STAGES = {2: "abc", 3: "abcd", 4: "abcdef", 5: "abc"}


def keras_norm(name: str, channels: int, random: np.random.Generator) -> dict[str, Array]:
    drawn = {"gamma": random.normal(1, 0.1, channels), "beta": random.normal(0, 1, channels), "moving_mean": random.normal(0, 1, channels)}
    drawn["moving_variance"] = random.uniform(0.01, 2, channels)
    return {f"{name}/{key}": value.astype(np.float32) for key, value in drawn.items()}


def keras_conv(name: str, size: int, inputs: int, outputs: int, random: np.random.Generator) -> dict[str, Array]:
    kernel, bias = random.normal(0, 0.1, (size, size, inputs, outputs)), random.normal(0, 1, outputs)
    return {f"{name}/kernel": kernel.astype(np.float32), f"{name}/bias": bias.astype(np.float32)}


@pytest.fixture
def keras() -> dict[str, Array]:
    """All of Keras' names, with two channels everywhere."""
    random = np.random.default_rng(7)
    weights = keras_conv("conv1", 7, 3, 2, random) | keras_norm("bn_conv1", 2, random)
    for stage, blocks in STAGES.items():
        for block in blocks:
            for branch in ("branch2a", "branch2b", "branch2c", *(["branch1"] if block == "a" else [])):
                size = 3 if branch == "branch2b" else 1
                weights |= keras_conv(f"res{stage}{block}_{branch}", size, 2, 2, random) | keras_norm(
                    f"bn{stage}{block}_{branch}", 2, random
                )
    return weights | {"fc1000/kernel": np.ones((2, 5), np.float32), "fc1000/bias": np.zeros(5, np.float32)}


def keras_answer(keras: dict[str, Array], conv: str, norm: str, pixels: Array) -> Array:
    """One pixel's worth of Keras: convolution with bias, then BatchNorm; `pixels` is height, width, channel."""
    summed = np.einsum("hwi,hwio->o", pixels, keras[f"{conv}/kernel"]) + keras[f"{conv}/bias"]
    deviation = np.sqrt(keras[f"{norm}/moving_variance"] + 1e-3)
    return np.asarray((summed - keras[f"{norm}/moving_mean"]) / deviation * keras[f"{norm}/gamma"] + keras[f"{norm}/beta"], np.float32)


def torch_answer(state: dict[str, Array], conv: str, norm: str, pixels: Array) -> Array:
    """The same in torch's layout; `pixels` is channel, height, width."""
    summed = np.einsum("ihw,oihw->o", pixels, state[f"{conv}.weight"])
    deviation = np.sqrt(state[f"{norm}.running_var"] + 1e-5)
    return np.asarray((summed - state[f"{norm}.running_mean"]) / deviation * state[f"{norm}.weight"] + state[f"{norm}.bias"], np.float32)


def test_a_photo_gives_the_same_numbers_after_the_first_layer(keras: dict[str, Array]) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (7, 7, 3)).astype(np.float64)
    as_keras = rgb[:, :, ::-1] - CAFFE_MEAN_BGR
    as_torch = (rgb / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    expected = keras_answer(keras, "conv1", "bn_conv1", as_keras.astype(np.float32))
    got = torch_answer(convert(keras), "conv1", "bn1", as_torch.transpose(2, 0, 1).astype(np.float32))
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def test_an_inner_layer_gives_the_same_numbers(keras: dict[str, Array]) -> None:
    pixels = np.random.default_rng(2).normal(0, 1, (3, 3, 2)).astype(np.float32)
    expected = keras_answer(keras, "res4f_branch2b", "bn4f_branch2b", pixels)
    got = torch_answer(convert(keras), "layer3.5.conv2", "layer3.5.bn2", pixels.transpose(2, 0, 1))
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_every_name_of_torchvisions_network_is_there(keras: dict[str, Array], tmp_path: Path) -> None:
    save(convert(keras), tmp_path / "resnet50.pth")
    state = torch.load(tmp_path / "resnet50.pth", weights_only=True)
    norms = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    layers = [("conv1", "bn1")]
    for stage, blocks in enumerate((3, 4, 6, 3), start=1):
        for block in range(blocks):
            layers += [(f"layer{stage}.{block}.conv{number}", f"layer{stage}.{block}.bn{number}") for number in (1, 2, 3)]
        layers.append((f"layer{stage}.0.downsample.0", f"layer{stage}.0.downsample.1"))
    expected = {f"{conv}.weight" for conv, _ in layers} | {f"{norm}.{name}" for _, norm in layers for name in norms}
    assert state.keys() == expected | {"fc.weight", "fc.bias"}
    assert len(state) == 320
    assert {tensor.dtype for tensor in state.values()} == {torch.float32, torch.int64}


def test_the_file_is_the_same_each_time(keras: dict[str, Array], tmp_path: Path) -> None:
    for name in ("one.pth", "two.pth"):
        save(convert(keras), tmp_path / name)
    assert (tmp_path / "one.pth").read_bytes() == (tmp_path / "two.pth").read_bytes()


def tarball(file: Path, weights: dict[str, Array], cut: int, lost: int = 0) -> Path:
    """A package whose weights are one row of bytes, cut into two shards without regard to where a weight ends."""
    row = b"".join(array.tobytes() for array in weights.values())
    named = [{"name": name, "shape": list(array.shape), "dtype": "float32"} for name, array in weights.items()]
    manifest = json.dumps({"weightsManifest": [{"paths": ["s1.bin", "s2.bin"], "weights": named}]}).encode()
    with tarfile.open(file, "w:gz") as tar:
        for name, body in {"model.json": manifest, "s1.bin": row[:cut], "s2.bin": row[cut : len(row) - lost]}.items():
            entry = tarfile.TarInfo(f"package/net/{name}")
            entry.size = len(body)
            tar.addfile(entry, io.BytesIO(body))
    return file


def test_a_weight_may_lie_in_two_shards(tmp_path: Path) -> None:
    weights = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.arange(4, dtype=np.float32)}
    read = read_tfjs(tarball(tmp_path / "package.tgz", weights, cut=20), "package/net")
    assert {name: array.tolist() for name, array in read.items()} == {name: array.tolist() for name, array in weights.items()}


def test_shards_with_too_few_numbers_are_refused(tmp_path: Path) -> None:
    weights = {"a": np.zeros(6, np.float32)}
    with pytest.raises(RefusedError, match="have 5 numbers, but their manifest lists 6"):
        read_tfjs(tarball(tmp_path / "package.tgz", weights, cut=8, lost=4), "package/net")
