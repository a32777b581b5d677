"""The model server as a Ray Serve application, named by config.yaml of the artefact.

Runs in AWS's Ray Serve image only, which has ray installed; its adapter posts requests to /.
"""

import os
from pathlib import Path

import torch
from ray import serve

from training.serving.inference import model_fn
from training.serving.prediction import Model
from training.serving.server import build_app, threads_per_prediction

FOLDER = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")) / "model"
CORES = os.cpu_count() or 1
THREADS = threads_per_prediction({}, CORES)
RESOURCES = {"num_cpus": CORES, "num_gpus": int(Path("/dev/nvidia0").exists())}
"""The whole machine for one replica: by default Ray gives it one core and no GPU."""


def load() -> Model:
    """Load the artefact; a prediction uses as many threads as under uvicorn."""
    torch.set_num_threads(THREADS)
    return model_fn(str(FOLDER))


@serve.deployment(ray_actor_options=RESOURCES)
@serve.ingress(build_app(load, at_once=max(1, CORES // THREADS)))
class ImageClassifier:
    """Passes every request to the application; the model is loaded when the replica starts."""


app = ImageClassifier.bind()  # type: ignore[attr-defined]
