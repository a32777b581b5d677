"""fastai's documented recipe: `vision_learner(…).fine_tune(1)`, one epoch of the head and one of the whole network.

Runs in a virtual environment with requirements-fastai.txt, started by this folder's `__main__.py`.
"""

from typing import Any

from torch import nn

from benchmarks.side_by_side.shared_parts import Task, pretrained_resnet50, print_result, read_task

from fastai.vision.all import ImageDataLoaders, Resize, accuracy, get_image_files, model_meta, resnet50, set_seed, vision_learner  # isort: skip

EPOCHS = 1
"""Of the whole network, after one of the head: fastai's own quick start."""

BATCH = 16
"""Less than fastai's 64: on a few hundred photos that would be a handful of steps."""


def main(task: Task) -> None:
    """Learn, predict, report."""

    def architecture(**_options: Any) -> nn.Module:
        return pretrained_resnet50(task.weights)

    model_meta[architecture] = model_meta[resnet50]
    set_seed(task.seed, reproducible=True)
    loaders = ImageDataLoaders.from_folder(task.photos, train="train", valid="valid", bs=BATCH, item_tfms=Resize(224))
    learner = vision_learner(loaders, architecture, metrics=accuracy)
    with learner.no_bar():
        learner.fine_tune(EPOCHS)
        probabilities, shown = learner.get_preds(dl=loaders.test_dl(get_image_files(task.photos / "test"), with_labels=True))
    print_result(shown.tolist(), probabilities.argmax(dim=1).tolist())


if __name__ == "__main__":
    main(read_task())
