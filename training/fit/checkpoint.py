"""Checkpoints: the state of a training on disk after each epoch, so that a killed job resumes there.

Runs in training jobs. Two files alternate; each is complete or missing. The order and the crops of the photos follow from seed and epoch,
so no random generator is saved: on a CPU a resumed job ends with the same bits as one that was never killed.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from training.fit.loop import Epoch, Progress, Training, device_of
from training.job.safetensors_file import TensorFileError, read_tensors, write_tensors

FILES = ("even.safetensors", "odd.safetensors")
"""For epochs with an even and with an odd number."""


class Checkpoints:
    """The checkpoints of one training job."""

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        """`identity`: everything that determines the result; a checkpoint with another identity is not used."""
        self.folder, self.identity = folder, json.loads(json.dumps(identity))

    def save(self, training: Training, progress: Progress) -> None:
        """Write the state after the latest epoch of `progress`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in self.folder.glob(".*.unfinished"):  # of a run that was killed while it wrote
            left.unlink()
        tensors = _pack(training, progress)
        metadata = {
            "identity": json.dumps(self.identity),
            "history": json.dumps([asdict(epoch) for epoch in progress.history]),
            "best": json.dumps(progress.best.epoch if progress.best else None),
            "ended_by": json.dumps(progress.ended_by),
        }
        write_tensors(self.folder / FILES[len(progress.history) % 2], tensors, {**metadata, "digest": _digest(tensors, metadata)})

    def load(self, training: Training) -> Progress | None:
        """Restore network and optimizer from the newest usable checkpoint; if there is none, return None and print why."""
        found = [content for content in map(self._read, FILES) if content is not None]
        if not found:
            return None
        tensors, metadata = max(found, key=lambda content: len(json.loads(content[1]["history"])))
        _unpack(training, tensors)
        history = [Epoch(**epoch) for epoch in json.loads(metadata["history"])]
        best, ended_by = json.loads(metadata["best"]), json.loads(metadata["ended_by"])
        print(f"the job resumes after epoch {len(history)}, which an earlier run completed", flush=True)
        first = next((epoch for epoch in history if epoch.epoch == best), None)
        return Progress(_select(tensors, "best"), history, first, ended_by=ended_by)

    def remove(self) -> None:
        """Remove the checkpoints of a complete job. SageMaker does not delete in S3 what is deleted here, so the files are emptied."""
        for file in (self.folder / name for name in FILES):
            if file.exists():
                file.write_bytes(b"")

    def drop_others(self) -> None:
        """Delete checkpoints of other jobs that SageMaker downloaded: the jobs of one tuning job share their folder in S3."""
        for folder in self.folder.parent.glob("*"):
            if folder != self.folder:
                shutil.rmtree(folder, ignore_errors=True)

    def _read(self, name: str) -> tuple[dict[str, torch.Tensor], dict[str, str]] | None:
        """Return a usable checkpoint of this job, else None; a complete job leaves an empty file."""
        file = self.folder / name
        if not file.exists() or not file.stat().st_size:
            return None
        try:
            tensors, metadata = read_tensors(file)
            self._refuse(tensors, metadata)
        except TensorFileError as error:
            print(f"checkpoint {name} is not used: {error}", flush=True)
            return None
        return tensors, metadata

    def _refuse(self, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> None:
        """Reject a damaged checkpoint, and one from a job with another result."""
        if metadata.get("digest") != _digest(tensors, metadata):
            raise TensorFileError("its digest does not match: the file is damaged")
        identity = json.loads(metadata["identity"])
        changed = sorted(key for key, value in self.identity.items() if identity.get(key) != value)
        if changed:
            raise TensorFileError(f"it belongs to another job: {', '.join(changed)} changed")


def _pack(training: Training, progress: Progress) -> dict[str, torch.Tensor]:
    state = training.optimizer.state_dict()["state"]
    return {
        **{f"parameters/{name}": value for name, value in training.state().items()},
        **{f"best/{name}": value for name, value in progress.best_state.items()},
        **{f"optimizer/{index}/{name}": value for index, values in state.items() for name, value in values.items()},
    }


def _unpack(training: Training, tensors: Mapping[str, torch.Tensor]) -> None:
    training.restore(_select(tensors, "parameters"))
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in _select(tensors, "optimizer").items():
        index, _, key = name.partition("/")
        state.setdefault(int(index), {})[key] = value
    training.optimizer.load_state_dict({**training.optimizer.state_dict(), "state": state})


def _select(tensors: Mapping[str, torch.Tensor], group: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(f"{group}/"): value for name, value in tensors.items() if name.startswith(f"{group}/")}


def _digest(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> str:
    """Return a hex SHA-256 of names, numbers and texts."""
    texts = {name: text for name, text in sorted(metadata.items()) if name != "digest"}
    digest = hashlib.sha256(json.dumps(texts).encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def spread(training: Training, progress: Progress | None) -> Progress | None:
    """Give every process the state from which process 0 resumes; return it with the history, which determines the next epoch.

    Only process 0 has the best epoch's parameters. The others never use theirs: as a placeholder their best epoch is the first one,
    with the latest parameters.
    """
    processes, device = training.processes, device_of(training)
    if processes.size == 1:
        return progress
    known = progress or Progress({})
    text = json.dumps({"history": [asdict(epoch) for epoch in known.history], "ended_by": known.ended_by}).encode()
    length = torch.tensor([len(text)], device=device)
    processes.copy([length])
    content = torch.zeros(int(length), dtype=torch.uint8, device=device)
    if processes.rank == 0:
        content.copy_(torch.frombuffer(bytearray(text), dtype=torch.uint8))
    processes.copy([content, *(parameter.detach() for parameter in training.parameters().values())])
    state = json.loads(bytes(content.cpu().numpy()))
    history = [Epoch(**epoch) for epoch in state["history"]]
    if history:
        processes.copy(_momentum(training))
    if processes.rank == 0:
        return progress
    return Progress(training.state(), history, history[0] if history else None, ended_by=state["ended_by"])


def _momentum(training: Training) -> list[torch.Tensor]:
    """Return SGD's momentum of each parameter, created if missing."""
    state = training.optimizer.state
    return [state[value].setdefault("momentum_buffer", torch.zeros_like(value)) for value in training.parameters().values()]
