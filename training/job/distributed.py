"""Several processes that train one network, each on its share of every batch: one per GPU, started by torchrun on AWS and locally.

Runs in training jobs that train the backbone. Every sum over photos is taken over all processes, so the result is that of one process,
except for the rounding of sums in another order.
"""

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NoReturn

import torch
from torch import distributed
from torch.distributed.rendezvous import rendezvous

FINISHED = "whippet/finished"
"""Key that process 0 sets in the store when all work is done."""
LONGEST_JOB = timedelta(days=28)
"""The longest a training job may run on AWS."""


@dataclass(frozen=True)
class Processes:
    """The processes of a job, as one of them sees them."""

    rank: int = 0
    """This process; 0 writes and reports."""
    size: int = 1
    store: Any = field(default=None, compare=False, repr=False)
    """The torch.distributed.Store that the processes share; None for a single process."""

    def share(self, batch: torch.Tensor) -> torch.Tensor:
        """Return the places in a batch that this process computes: every size-th."""
        return torch.arange(len(batch))[self.rank :: self.size]

    def sum(self, *tensors: torch.Tensor) -> None:
        """Add up float tensors over all processes, in place, as one message."""
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        distributed.all_reduce(flat)
        for tensor, total in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(total.view_as(tensor))

    def collect(self, rows: torch.Tensor, places: torch.Tensor, count: int) -> torch.Tensor:
        """Return [count, k] of which every process gives the rows [n, k] at its places."""
        if self.size == 1:
            return rows
        whole = torch.zeros(count, rows.shape[1], dtype=rows.dtype, device=rows.device)
        whole[places.to(rows.device)] = rows
        self.sum(whole)
        return whole

    def agree(self, flag: bool, device: torch.device) -> bool:
        """Return whether the flag is set in any process."""
        if self.size == 1:
            return flag
        votes = torch.tensor([float(flag)], device=device)
        self.sum(votes)
        return bool(votes.item())

    def copy(self, tensors: Iterable[torch.Tensor]) -> None:
        """Copy the tensors of process 0 to every process, in place, whatever their memory layouts are."""
        if self.size == 1:
            return
        for tensor in tensors:
            message = tensor.contiguous()  # raw memory is sent: channels_last in one process would be read as rows in another
            distributed.broadcast(message, src=0)
            if message is not tensor:
                tensor.copy_(message)


def join_processes(environment: Mapping[str, str] = os.environ) -> Processes:
    """Join the other processes that torchrun started, if any; each takes the GPU of its number if there are GPUs."""
    if world_size(environment) == 1:
        return Processes()
    if torch.cuda.is_available():
        torch.cuda.set_device(int(environment["LOCAL_RANK"]))
    store, number, size = next(rendezvous("env://"))
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo", store=store, rank=number, world_size=size)
    return Processes(number, size, store)


def world_size(environment: Mapping[str, str] = os.environ) -> int:
    """Return how many processes torchrun started, including this one."""
    return int(environment.get("WORLD_SIZE", "1"))


def rank(environment: Mapping[str, str] = os.environ) -> int:
    """Return this process's number among those that torchrun started."""
    return int(environment.get("RANK", "0"))


def leave_processes(processes: Processes) -> None:
    """Leave the group together, when process 0 has evaluated and saved; a process that left earlier could end process 0 too."""
    if processes.store is None:
        return
    if processes.rank == 0:
        processes.store.set(FINISHED, "1")
    else:
        processes.store.wait([FINISHED], LONGEST_JOB)
    distributed.destroy_process_group()


def end_program(status: int) -> NoReturn:
    """End this program, as its last statement.

    One of several processes skips Python's own cleanup: a thread of gloo that still releases a tensor would abort it, and torchrun would
    report a job as failed although its model is saved.
    """
    if world_size() == 1:
        sys.exit(status)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
