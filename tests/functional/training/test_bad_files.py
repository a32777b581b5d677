"""60 kinds of files that are no photos, and 20 bombs under a memory limit: no crash, each listed with a reason. Run: `make test`."""

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from tests.fixtures.training.bad_files import bad_files, bombs, png_of
from tests.fixtures.training.jobs import save_classes
from training.data.features import Processor, extract_features
from training.data.folders import UnusedFile, find_photos
from training.data.inspection import MachineError, Seen, inspect
from training.data.preprocessing import Preprocessing
from training.network.resnet50 import FEATURES

LIMIT_BYTES = 150_000_000
"""What the child may reserve beyond what it holds when it starts to read."""


class Mean(nn.Module):
    """Stands in for the backbone."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.mean(dim=(1, 2, 3)).unsqueeze(1).expand(-1, FEATURES)


def read(folder: Path) -> tuple[set[str], dict[str, str]]:
    """Every file below through the way of the processing job: names that are used, and the others with their reasons."""
    used: set[str] = set()
    left_out: dict[str, str] = {}
    photos = find_photos(folder).photos
    for batch in extract_features(Mean(), folder, photos, Preprocessing(), Processor(torch.device("cpu"), bfloat16=False)):
        assert batch.features.shape == (len(batch.photos), FEATURES)
        used |= {photo.kept.photo.name for photo in batch.photos}
        left_out |= {item.name: item.reason for item in batch.left_out}
    return used, left_out


def write(folder: Path, contents: dict[str, bytes]) -> None:
    for name, content in contents.items():
        (folder / name).write_bytes(content)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow warns of what it skips
def test_bad_files_are_listed_and_the_good_ones_among_them_used(tmp_path: Path) -> None:
    save_classes(tmp_path, 2)
    write(tmp_path / "red", bad_files())
    used, left_out = read(tmp_path)
    assert len(bad_files()) >= 60
    assert used == {f"{name}/{number}.png" for name in ("blue", "green", "red") for number in range(2)}
    assert left_out.keys() == {f"red/{name}" for name in bad_files()}
    assert all(reason.startswith(("it ", "its ")) for reason in left_out.values())


def test_bombs_under_a_memory_limit(tmp_path: Path) -> None:
    save_classes(tmp_path, 2)
    made = {name: make() for name, make in bombs().items()}
    assert len(made) == 20
    assert max(map(len, made.values())) < 100_000
    allowed_but_large = {"large.png": png_of(6900, 6900, 1, 0, bytes(864 * 6900))}
    write(tmp_path / "red", made | allowed_but_large)
    child = subprocess.run([sys.executable, "-W", "ignore", "-m", __name__, str(tmp_path)], capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stderr
    used, left_out = json.loads(child.stdout)
    assert len(used) == 6
    assert left_out.keys() == {f"red/{name}" for name in made | allowed_but_large}
    assert "needs more memory than is available" in left_out["red/large.png"]


def test_what_is_no_ordinary_file_is_listed(tmp_path: Path) -> None:
    save_classes(tmp_path, 1)
    (tmp_path / "red" / "link.png").symlink_to("/nowhere")
    (tmp_path / "red" / "endless.png").symlink_to("/dev/zero")
    _, left_out = read(tmp_path)
    assert left_out == {"red/endless.png": "it is not a regular file", "red/link.png": "it cannot be read: No such file or directory"}


def test_a_file_too_long_is_listed_unread(tmp_path: Path) -> None:
    save_classes(tmp_path, 1)
    with (tmp_path / "red" / "long.tif").open("wb") as file:
        file.truncate(10**12)
    assert "1,000,000,000,000 bytes long" in read(tmp_path)[1]["red/long.tif"]


class LittleMemory(Preprocessing):
    """Holds one photo at a time, and none of those whose memory is wanted by others."""

    inside = 0

    def cut(self, photo: Image.Image) -> torch.Tensor:
        cls = type(self)
        cls.inside += 1
        try:
            time.sleep(0.02)
            if cls.inside > 1:
                raise MemoryError
            return super().cut(photo)
        finally:
            cls.inside -= 1


def test_a_photo_for_which_there_was_no_memory_is_read_again_alone(tmp_path: Path) -> None:
    found = find_photos(save_classes(tmp_path, 4))
    with ThreadPoolExecutor(max_workers=6) as threads:
        seen = list(threads.map(lambda photo: inspect(found.folder, photo, LittleMemory()), found.photos))
    assert [type(item) for item in seen] == [Seen] * 12


def test_a_file_that_must_not_be_read_is_listed_and_a_failing_disk_is_not(tmp_path: Path) -> None:
    save_classes(tmp_path, 1)
    photos = find_photos(tmp_path)
    (tmp_path / "red" / "0.png").unlink()
    assert inspect(tmp_path, photos.photos[-1], Preprocessing()) == UnusedFile("red/0.png", "it cannot be read: No such file or directory")
    (tmp_path / "red" / "0.png").symlink_to("/proc/self/mem")
    with pytest.raises(MachineError, match="failed twice: Input/output error"):
        inspect(tmp_path, photos.photos[-1], Preprocessing())


def under_a_limit(folder: Path) -> None:
    """The child: reads the folder with little memory, and prints what came of it."""
    import resource

    torch.set_num_threads(1)
    read(folder.parent / "warm")
    reserved = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (reserved + LIMIT_BYTES,) * 2)
    used, left_out = read(folder)
    print(json.dumps([sorted(used), left_out]))


if __name__ == "__main__":
    chosen = Path(sys.argv[1])
    save_classes(chosen.parent / "warm", 1)
    under_a_limit(chosen)
