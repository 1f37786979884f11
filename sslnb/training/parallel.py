"""One batch, shared by several processes (notebook A3).

`torchrun` starts the processes, torch.distributed connects them and
DistributedDataParallel averages their gradients. What is left to this file is that
N processes with a batch of B / N compute what one with B computes: negatives are
gathered with their gradients, batch-norm sees the whole batch.

    >>> with process_group():                     # under torchrun or alone
    ...     local = images[local_slice(batch)]    # this process's clips
    ...     sounds = gather(embeddings, batch)    # (b, C) to (batch, C)
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce

Module = TypeVar("Module", bound=nn.Module)


def rank() -> int:
    """Number of this process, from 0; 0 where it is alone."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_main() -> bool:
    """Whether this process is the one that writes."""
    return rank() == 0


def world_size() -> int:
    """How many processes share a batch."""
    return dist.get_world_size() if dist.is_initialized() else 1


def device() -> torch.device:
    """Where this process computes: its own GPU, or the CPU where there is none."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))


@contextmanager
def process_group(minutes: float = 10) -> Iterator[None]:
    """Join the processes that torchrun started, if it did, until the block ends.

    A process that waits longer than `minutes` for another takes it for lost. Where
    torchrun stops the others, each raises a RuntimeError at the line where it stands. On
    GPUs a process that fails just ends: leaving the group would wait for the others.
    """
    many, where = "LOCAL_RANK" in os.environ, device()
    if where.type == "cuda":
        torch.cuda.set_device(where)
    if many:
        before = signal.signal(signal.SIGTERM, _stop)
        dist.init_process_group(
            "nccl" if where.type == "cuda" else "gloo",
            timeout=timedelta(minutes=minutes),
        )
    try:
        yield
    except BaseException:
        if many and where.type == "cpu":
            dist.destroy_process_group()
        raise
    else:
        if many:
            dist.barrier()  # who leaves early breaks off what others still send
            dist.destroy_process_group()
    finally:
        if many:
            signal.signal(signal.SIGTERM, before)


def _stop(number, frame):
    if sys.exception() is None:  # else an error is on its way already
        raise RuntimeError(
            "this process was asked to stop (SIGTERM), as all are where one is lost"
        )


def local_slice(batch: int) -> slice:
    """The slice of a batch of `batch` clips that this process works on.

    Slices differ by one clip at most, and none is empty: ValueError where there are
    fewer clips than processes.
    """
    if batch < world_size():
        raise ValueError(
            f"a batch of {batch} for {world_size()} processes: need a clip each"
        )
    return slice(batch * rank() // world_size(), batch * (rank() + 1) // world_size())


def all_sum(x: Tensor) -> Tensor:
    """Sum of a tensor over all processes; gradients flow back into each."""
    return all_reduce(x) if world_size() > 1 else x


def gather(x: Tensor, batch: int) -> Tensor:
    """Every process's rows (b, …) in one tensor (batch, …), with their gradients."""
    if world_size() == 1:
        return x
    rows = x.new_zeros(batch, *x.shape[1:])
    return all_sum(
        torch.index_add(
            rows, 0, torch.arange(batch, device=x.device)[local_slice(batch)], x
        )
    )


class BatchNorm(nn.BatchNorm2d):
    """Batch-norm over all processes' batches, on any device.

    PyTorch's own SyncBatchNorm computes the same, but has no CPU kernel.
    """

    def forward(self, x):
        """(B, C, H, W) to the same shape."""
        if not self.training:
            return super().forward(x)
        values = x.float()
        count = all_sum(values.new_tensor(float(values[:, 0].numel())))
        mean = all_sum(values.sum((0, 2, 3))) / count
        centred = values - mean[:, None, None]
        variance = all_sum(centred.square().sum((0, 2, 3))) / count
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)


def sync_batch_norm(model: Module) -> Module:
    """The model, with batch-norm over the batches of all processes."""
    if world_size() == 1:
        return model
    if next(model.parameters()).is_cuda:
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.BatchNorm2d:
                norm = BatchNorm(child.num_features, child.eps, child.momentum)
                norm.load_state_dict(child.state_dict())
                setattr(module, name, norm)
    return model


def data_parallel(model: nn.Module) -> nn.Module:
    """A module whose gradients are averaged over all processes at each backward."""
    if world_size() == 1:
        return model
    where = (
        [next(model.parameters()).device.index]
        if next(model.parameters()).is_cuda
        else None
    )
    # batch-norm's buffers are the same everywhere already
    return nn.parallel.DistributedDataParallel(model, where, broadcast_buffers=False)
