"""A plain Lightning loop: the body frozen and in eval mode, a linear head on it, torchvision's usual transforms.

Runs in a virtual environment with requirements-lightning.txt, started by this folder's `__main__.py`.
"""

from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from benchmarks.side_by_side.shared_parts import Task, pretrained_resnet50, print_result, read_task
from training.network.resnet50 import FEATURES

import lightning  # isort: skip
from torchvision import datasets, transforms  # isort: skip

EPOCHS = 2
BATCH = 16
LR = 0.001
WORKERS = 2
NORMALISE = [transforms.ToTensor(), transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
TRAIN = transforms.Compose([transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), *NORMALISE])
JUDGE = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), *NORMALISE])


class Classifier(lightning.LightningModule):  # type: ignore[misc]
    """A frozen body and a linear head."""

    def __init__(self, body: nn.Module, classes: int) -> None:
        """`body`: float32 [n, 3, 224, 224] -> float32 [n, FEATURES]."""
        super().__init__()
        self.body, self.head = body.requires_grad_(False), nn.Linear(FEATURES, classes)

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        with torch.no_grad():
            features = self.body.eval()(photos)
        logits: torch.Tensor = self.head(features)
        return logits

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _number: int) -> torch.Tensor:
        """One step."""
        return cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], _number: int) -> None:
        """Log the loss, as such loops do."""
        self.log("valid_loss", cross_entropy(self(batch[0]), batch[1]))

    def predict_step(self, batch: tuple[torch.Tensor, torch.Tensor], _number: int) -> torch.Tensor:
        """The class of each photo."""
        called: torch.Tensor = self(batch[0]).argmax(dim=1)
        return called

    def configure_optimizers(self) -> Any:
        """AdamW on the head."""
        return torch.optim.AdamW(self.head.parameters(), lr=LR)


def main(task: Task) -> None:
    """Learn, predict, report."""
    lightning.seed_everything(task.seed, workers=True)
    train = datasets.ImageFolder(task.photos / "train", TRAIN)
    valid, test = (datasets.ImageFolder(task.photos / split, JUDGE) for split in ("valid", "test"))
    body = pretrained_resnet50(task.weights)
    body.fc = nn.Identity()
    model = Classifier(body, len(train.classes))
    trainer = lightning.Trainer(
        max_epochs=EPOCHS,
        accelerator="auto",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        default_root_dir=task.scratch,
    )
    trainer.fit(model, DataLoader(train, BATCH, shuffle=True, num_workers=WORKERS), DataLoader(valid, BATCH, num_workers=WORKERS))
    called = torch.cat(trainer.predict(model, DataLoader(test, BATCH, num_workers=WORKERS)))
    print_result(test.targets, called.tolist())


if __name__ == "__main__":
    main(read_task())
