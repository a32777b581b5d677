"""What measurements work on: data sets by name, the demo's weights as a weights channel, prepared data sets kept between runs.

Used by the scripts beside it. A data set is `chess`, or a folder or zip of photos; downloads and prepared
data sets lie in local mode's home.
"""

import hashlib
import json
import shutil
import tempfile
from collections import Counter
from pathlib import Path

from cli.account.target import home
from cli.demo.photos import fetch_chess_photos, open_own_photos
from cli.demo.weights import SOURCE, STRIDE, ensure_weights
from training import prepare
from training.contract import WEIGHTS_DESCRIPTION
from training.data.dataset import Dataset, digest_of, open_dataset
from training.job.provenance import code_sha256

SEED = 42
"""Of the splits that are drawn here, and of training where it is not what is varied."""


def say(line: str) -> None:
    """Progress goes to the terminal."""
    print(line, flush=True)


def photos_of(name: str) -> Path:
    """The folder of a data set's photos."""
    found = fetch_chess_photos(home() / "cache", say) if name == "chess" else open_own_photos(Path(name), home() / "cache")
    return found.folder.root


def title(name: str) -> str:
    """What results call a data set."""
    return Path(name).stem


def weights_channel() -> Path:
    """The demo's weights, described as the weights channel of a job."""
    folder = home() / "benchmarks" / "weights"
    folder.mkdir(parents=True, exist_ok=True)
    file, link = ensure_weights(home() / "cache", say), folder / "resnet50.pth"
    link.unlink(missing_ok=True)
    link.symlink_to(file)
    description = {"file": link.name, "sha256": digest_of(file), "stride": STRIDE, "source": SOURCE}
    (folder / WEIGHTS_DESCRIPTION).write_text(json.dumps(description), encoding="utf-8")
    return folder


def prepared_dataset(name: str) -> Dataset:
    """The data set as PrepareDataset makes it; made once for the same photos and code."""
    photos = photos_of(name)
    kept = home() / "benchmarks" / "prepared" / f"{title(name)}-{digest_of_names(photos)[:16]}-{code_sha256()[:16]}"
    if not kept.is_dir():
        prepare_into(kept, photos)
    return open_dataset(kept)


def digest_of_names(folder: Path) -> str:
    """The digest of the names and sizes of all files below."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return hashlib.sha256(repr([(str(file.relative_to(folder)), file.stat().st_size) for file in files]).encode()).hexdigest()


def prepare_into(kept: Path, photos: Path) -> None:
    """Run PrepareDataset's program; the folder is there whole or not at all.

    Raises:
        RuntimeError: the program refused the photos.
    """
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as scratch:
        folder = Path(scratch)
        folders = ["--photos", photos, "--weights", weights_channel(), "--dataset", folder / "dataset", "--report", folder / "report"]
        if prepare.main([*map(str, folders), "--message", str(folder / "message"), "--seed", str(SEED)]) != 0:
            raise RuntimeError((folder / "message").read_text(encoding="utf-8"))
        (folder / "dataset").rename(kept)


def copy_used(dataset: Dataset, photos: Path, target: Path, a_class: int | None = None) -> Path:
    """Copy the photos that are used as split/class/file, at most so many of each class in each split; the first ones by name."""
    taken: Counter[tuple[str, int]] = Counter()
    for photo in dataset.photos:
        taken[photo.split, photo.label] += 1
        if a_class is None or taken[photo.split, photo.label] <= a_class:
            folder = target / photo.split / dataset.classes[photo.label]
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy2(photos / photo.name, folder / f"{taken[photo.split, photo.label]:05d}{Path(photo.name).suffix}")
    return target
