"""The model server as a Ray Serve application, named by config.yaml of the artefact.

Runs in AWS's Ray Serve image only, which holds ray; its adapter posts requests to /.
"""

import os
from pathlib import Path

from ray import serve

from training.inference import model_fn
from training.server import build_app

FOLDER = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")) / "model"


@serve.deployment
@serve.ingress(build_app(lambda: model_fn(str(FOLDER))))
class ImageClassifier:
    """Hands every request to the application; the model loads when the replica starts."""


app = ImageClassifier.bind()  # type: ignore[attr-defined]
