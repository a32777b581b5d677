"""The repairs do what is needed, once, and nothing where nothing is broken. Run: `make test`."""

import importlib
import os
import sys

import numpy as np
import pytest
import torch

from training.network.torchvision_repairs import import_smdebug, import_torchvision


def test_torchvision_builds_networks_whatever_its_library() -> None:
    models = import_torchvision()
    assert models is import_torchvision()
    assert models.resnet18(weights=None).eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 1000)


def test_smdebug_writes_arrays_of_this_numpy() -> None:
    import_smdebug()
    writer = importlib.import_module("smdebug.core.writer")
    repaired = writer.make_tensor_proto
    import_smdebug()
    assert writer.make_tensor_proto is repaired
    assert writer.make_tensor_proto(np.ones((2, 3), np.float32), "name").tensor_content == np.ones(6, np.float32).tobytes()


def test_smdebug_finds_its_messages_loadable() -> None:
    import_smdebug()
    assert os.environ["PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"] == "python"


def test_the_stand_in_for_pyinstrument_says_what_it_is() -> None:
    import_smdebug()
    with pytest.raises(NotImplementedError, match="stand-in"):
        sys.modules["pyinstrument"].Profiler()
