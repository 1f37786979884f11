"""Several processes, one batch: the same loss, gradients and runs as in one process."""

import functools
import json
import operator
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from sslnb.training import parallel

TESTS = Path(__file__).resolve().parent


def torchrun(program, processes, *arguments):
    """Run a program in processes that are connected as torchrun connects them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program, *map(str, arguments)],
            cwd=TESTS.parent,
            env={
                **os.environ,
                "PYTHONPATH": f"{TESTS.parent}:{TESTS}",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(processes),
                "OMP_NUM_THREADS": "1",
                "GLOO_SOCKET_IFNAME": "lo",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]
    return [(p.communicate(timeout=300), p.returncode) for p in running]


def succeed(program, processes, *arguments):
    for (_, errors), status in torchrun(program, processes, *arguments):
        assert status == 0, errors


# Gradients of one batch of seven clips, all of it here or a share of it, in fp32.
GRADIENTS = """
import sys, torch
from dataclasses import replace
from safetensors.torch import save_file
from sslnb.training import parallel
from sslnb.data import load_scenes
from sslnb.data import spectrogram
from sslnb.model import SoundLocaliser
from sslnb.training.step import Branches, total_loss, two_views
from test_train import TINY

# Small pictures and short sounds: fewer cells at which rounding alone decides which
# side of a ReLU or which maximum the gradient takes.
clips, found = load_scenes("train", 7, image_size=32), {}
sounds = spectrogram(clips.waves)[..., :24]
with parallel.process_group():
    for case in sys.argv[2:]:
        form, model_name, own = case.split("-")
        config = replace(TINY, form=form, model=model_name, separate_masks=own == "own")
        torch.manual_seed(0)
        model = parallel.sync_batch_norm(SoundLocaliser.from_preset("laptop"))
        branches = parallel.data_parallel(Branches(model, "fp32"))
        mine = parallel.local_slice(7)
        views = two_views(config, clips.images[mine] / 255, sounds[mine],
                          torch.Generator().manual_seed(3), 1.0, 7)
        loss, _ = total_loss(branches, config, views)
        loss.backward()
        found[f"{case}.loss"] = parallel.all_sum(loss.detach()) / parallel.world_size()
        for name, value in model.named_parameters():
            found[f"{case}.{name}"] = value.grad.contiguous()
        for name, value in model.named_buffers():
            found[f"{case}.{name}"] = value.float()
    if parallel.rank() == 0:
        save_file(found, sys.argv[1])
"""
CASES = ["release-F-one", "paper-F-one", "release-A-one", "release-D-own"]


@pytest.mark.slow
def test_two_or_three_processes_have_the_gradients_of_one(tmp_path):
    """Uneven shares too: seven clips in two processes are three and four."""
    for processes in (1, 2, 3):
        succeed(GRADIENTS, processes, tmp_path / str(processes), *CASES)
    one = load_file(tmp_path / "1")
    for processes in (2, 3):
        many = load_file(tmp_path / str(processes))
        assert many.keys() == one.keys()
        for name, value in one.items():
            assert torch.allclose(many[name], value, rtol=1e-5, atol=1e-5), name


RUN = """
import sys
from dataclasses import replace
from pathlib import Path
from sslnb.training import parallel
from sslnb.data import load_scenes
from sslnb.training.loop import train
from test_train import TINY
seen, config = [], replace(TINY, form=sys.argv[2])
with parallel.process_group():
    def tell(steps):
        for index, *rest in steps:
            seen.extend(index.tolist())
            yield index, *rest
    clips, val = load_scenes("train", 18), load_scenes("val", 6)
    if sys.argv[3] == "loss":  # of one process alone, where no boxes are known
        val = replace(val, boxes=[None] * 6, masks=None)
    for _ in train(config, clips, val, Path(sys.argv[1]), progress=tell):
        Path(sys.argv[1], f"seen-{parallel.rank()}").write_text(str(seen))
"""


@pytest.mark.slow
@pytest.mark.parametrize("form, by", [("release", "boxes"), ("paper", "loss")])
def test_a_run_of_two_processes_is_a_run_of_one(tmp_path, form, by):
    """Every clip is seen once an epoch; only the first process validates and writes."""
    for processes in (1, 2):
        succeed(RUN, processes, tmp_path / str(processes), form, by)
    seen = [json.loads(p.read_text()) for p in (tmp_path / "2").glob("seen-*")]
    assert len(seen) == 2 and sorted(
        functools.reduce(operator.iadd, seen, [])
    ) == sorted(2 * list(range(18)))
    one, two = (
        [
            json.loads(line)["loss"]
            for line in (tmp_path / n / "metrics.jsonl").read_text().splitlines()
        ]
        for n in "12"
    )
    assert two == pytest.approx(one, rel=0.01)  # Adam makes much of small differences
    names = {path.name for path in (tmp_path / "2").iterdir()} - {"seen-0", "seen-1"}
    assert names == {path.name for path in (tmp_path / "1").iterdir()} - {"seen-0"}


@pytest.mark.slow
def test_torchrun_says_where_a_process_was_lost_and_one_goes_on_alone(tmp_path):
    """The README's command; SIGKILL for one of two processes in the second epoch."""
    options = [
        "-m",
        "sslnb",
        "train",
        "--out",
        str(tmp_path),
        "--scenes",
        "64",
        "--val-clips",
        "8",
        "--batch",
        "16",
        "--epochs",
        "3",
        "--model",
        "D",
    ]
    running = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--nproc_per_node=2",
            "--rdzv-backend=c10d",
            "--rdzv-endpoint=localhost:0",
            *options,
        ],
        cwd=TESTS.parent,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    line = running.stdout.readline()
    assert line.startswith("epoch 1"), running.communicate()
    children = [
        int(pid)
        for path in Path(f"/proc/{running.pid}/task").glob("*/children")
        for pid in path.read_text().split()
    ]
    (second,) = (
        pid
        for pid in children
        if b"\0RANK=1\0" in Path(f"/proc/{pid}/environ").read_bytes()
    )
    os.kill(second, signal.SIGKILL)
    _, errors = running.communicate(timeout=300)
    assert running.returncode
    assert (
        "at step" in errors and "clips train/0/" in errors and "TrainConfig(" in errors
    )
    done = subprocess.run(
        [sys.executable, *options, "--resume"],
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert [line.split()[1] for line in done.splitlines()][-1] == "3"


def test_alone_nothing_is_shared():
    x = torch.ones(3, 2)
    assert parallel.world_size() == 1 and parallel.rank() == 0
    assert parallel.local_slice(5) == slice(0, 5)
    assert parallel.all_sum(x) is x and parallel.gather(x, 3) is x
    model = nn.Sequential(nn.BatchNorm2d(2))
    assert (
        parallel.sync_batch_norm(model) is model
        and parallel.data_parallel(model) is model
    )


@pytest.mark.parametrize("world", [2, 3, 8])
@pytest.mark.parametrize("batch", [8, 9, 15, 16])
def test_shares_are_all_clips_once_and_nearly_equal(monkeypatch, world, batch):
    monkeypatch.setattr(parallel, "world_size", lambda: world)
    rows = []
    for rank in range(world):
        monkeypatch.setattr(parallel, "rank", lambda rank=rank: rank)
        rows.append(list(range(batch))[parallel.local_slice(batch)])
    assert functools.reduce(operator.iadd, rows, []) == list(range(batch))
    assert max(map(len, rows)) - min(map(len, rows)) <= 1
    with pytest.raises(ValueError, match="need a clip each"):
        parallel.local_slice(world - 1)


def test_batch_norm_is_pytorchs(monkeypatch):
    """With one process the sums over processes are sums: the same as BatchNorm2d."""
    torch.manual_seed(0)
    theirs = nn.BatchNorm2d(3)
    nn.init.normal_(theirs.weight), nn.init.normal_(theirs.bias)
    mine = parallel.BatchNorm(3)
    mine.load_state_dict(theirs.state_dict())
    for _ in range(3):
        x = (5 * torch.randn(4, 3, 5, 6) + 2).requires_grad_()
        y = x.detach().clone().requires_grad_()
        weights = torch.randn(4, 3, 5, 6)
        (theirs(x) * weights).sum().backward()
        (mine(y) * weights).sum().backward()
        assert torch.allclose(y.grad, x.grad, atol=1e-4)
    for name, value in theirs.state_dict().items():
        assert torch.allclose(mine.state_dict()[name], value, atol=1e-5), name
    assert torch.allclose(mine.eval()(x), theirs.eval()(x), atol=1e-4)
