"""What the main job's accuracy is worth: beside a converged logistic regression on the same features of the same split.

Runs the main job in local mode on each data set named (class folders or a zip; without any: the demo's chess pieces), then fits
scikit-learn's logistic regression, its strength chosen on the validation photos; a few minutes a data set:

    python -m benchmarks.accuracy [flowers5.zip dogs20.zip …]
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.results import REPOSITORY, write_result
from cli.demo_photos import DemoPhotos, chess_photos, own_photos
from cli.demo_weights import STRIDE, converted_weights
from cli.target import home
from training.data import SPLITS, find_photos
from training.features import choose_processor, extract_features
from training.model import fold_batch_norm, load_backbone
from training.preprocessing import Preprocessing

STRENGTHS = (0.0001, 0.001, 0.01, 0.1, 1.0, 10.0)
"""Inverse regularisation strengths to choose from."""
KEPT = ("status", "seconds", "trials", "best", "valid_accuracy", "test_accuracy")


def main(data_sets: list[str]) -> None:
    """Measure each data set, write the result."""
    measured = {}
    try:
        for name in data_sets or ["chess"]:
            photos = chess_photos(home() / "cache", say) if name == "chess" else own_photos(Path(name), home() / "cache")
            measured[Path(name).stem] = {**main_job(name), "logistic_regression_test_accuracy": logistic_regression(photos)}
    finally:
        subprocess.run(["make", "--no-print-directory", "down"], cwd=REPOSITORY, check=True)
    print(write_result("accuracy", {"data_sets": measured}))


def main_job(name: str) -> dict[str, Any]:
    """Run the demo on a data set; what its record says."""
    data = [] if name == "chess" else ["--data", name]
    subprocess.run([sys.executable, "-m", "cli.demo", *data], cwd=REPOSITORY, check=True)
    written = json.loads((home() / "demo.json").read_text(encoding="utf-8"))
    return {each: written[each] for each in KEPT}


def logistic_regression(photos: DemoPhotos) -> float:
    """Test accuracy of the regression that does best on the validation photos."""
    with tempfile.TemporaryDirectory() as folder:
        backbone, _ = load_backbone(described_weights(Path(folder)))
    processor, network = choose_processor(), fold_batch_norm(backbone)
    sets = find_photos(photos.folder.root, seed=42)
    features = {split: extract_features(network, sets.splits[split], Preprocessing(), processor)[0] for split in SPLITS}
    train, valid, test = (features[split] for split in SPLITS)
    fitted = [fit(strength, train.values.numpy(), train.labels.numpy()) for strength in STRENGTHS]
    best = max(fitted, key=lambda model: float(model.score(valid.values.numpy(), valid.labels.numpy())))
    return float(best.score(test.values.numpy(), test.labels.numpy()))


def fit(strength: float, values: Any, labels: Any) -> Any:
    """A converged regression on standardised features."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=5000)).fit(values, labels)


def described_weights(folder: Path) -> Path:
    """The demo's weights as a weights channel."""
    file = converted_weights(home() / "cache", say)
    (folder / file.name).symlink_to(file)
    digest = (home() / "cache" / "resnet50.sha256").read_text(encoding="utf-8").split()[1]
    (folder / "resnet50.json").write_text(json.dumps({"file": file.name, "sha256": digest, "stride": STRIDE, "source": "the demo's"}))
    return folder


def say(line: str) -> None:
    """Progress goes to the terminal."""
    print(line, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
