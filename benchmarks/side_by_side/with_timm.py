"""timm's parts put together as its training script does: the whole network fine-tuned, AdamW with a cosine schedule, its own augmentation.

Runs in a virtual environment with requirements-timm.txt, started by this folder's `__main__.py`.
"""

import torch
from torch.nn.functional import cross_entropy

from benchmarks.side_by_side.shared_parts import Task, pretrained_resnet50, print_result, read_task

import timm  # isort: skip
from timm.data import create_dataset, create_loader  # isort: skip
from timm.optim import create_optimizer_v2  # isort: skip
from timm.scheduler import create_scheduler_v2  # isort: skip
from timm.utils import random_seed  # isort: skip

EPOCHS = 1
BATCH = 16
LR = 3e-4
SIZE = (3, 224, 224)


def main(task: Task) -> None:
    """Learn, predict, report."""
    random_seed(task.seed)
    sets = {split: create_dataset("", root=str(task.photos / split)) for split in ("train", "test")}
    classes = sorted(sets["train"].reader.class_to_idx)
    loaders = {
        split: create_loader(sets[split], SIZE, BATCH, is_training=split == "train", use_prefetcher=False, num_workers=2) for split in sets
    }
    network = build(task, len(classes))
    optimizer = create_optimizer_v2(network, opt="adamw", lr=LR, weight_decay=0.05)
    steps = len(loaders["train"])
    schedule, _ = create_scheduler_v2(optimizer, "cosine", num_epochs=EPOCHS, updates_per_epoch=steps, step_on_epochs=False)
    network.train()
    for step in range(EPOCHS * steps):
        if step % steps == 0:
            photos_left = iter(loaders["train"])
        photos, labels = next(photos_left)
        loss: torch.Tensor = cross_entropy(network(photos), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        schedule.step_update(step + 1)
    network.eval()
    with torch.inference_mode():
        called = [index for photos, _ in loaders["test"] for index in network(photos).argmax(dim=1).tolist()]
    print_result([label for _, label in sets["test"].reader.samples], called)


def build(task: Task, classes: int) -> torch.nn.Module:
    """timm's ResNet50 with the shared weights, their strides, and a new head."""
    network: torch.nn.Module = timm.create_model("resnet50", pretrained=False)
    shared = pretrained_resnet50(task.weights)
    network.load_state_dict(shared.state_dict(), strict=True)
    for name in ("layer2", "layer3", "layer4"):
        first, same = getattr(network, name)[0], getattr(shared, name)[0]
        first.conv1.stride, first.conv2.stride = same.conv1.stride, same.conv2.stride
    network.reset_classifier(classes)  # type: ignore[operator]
    return network


if __name__ == "__main__":
    main(read_task())
