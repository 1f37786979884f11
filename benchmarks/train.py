"""Training at the paper's shapes, against a plain reference, in turn.

    sslnb bench train                       # two CPU cores: about ten minutes
    sslnb bench train --alone               # the step alone: about three minutes
    sslnb bench train --batch 64 128 256    # on a GPU: the fastest counts

The reference does what the released code does: two passes, each of which encodes
the picture and the sound, in fp32 and contiguous memory, by a ResNet whose first ReLU
comes before its max-pool. It is written anew from equations and tables, and must have the
same loss and gradients.

First the step alone, on clips that lie on the device. On a CPU its convolutions are timed
too: a step in which all else took no time would be as many times as fast as the reference
as `fp32_bound` and `bf16_bound` say. Then end to end: the loop of
sslnb/training/loop.py from a packed store, frames of 256², against the reference that takes
its batches out of the same store, one after the other.
"""

import argparse
import os
import resource
import tempfile
import time
from contextlib import redirect_stderr
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.ledger import record
from sslnb import augment
from sslnb.data import RELEASE_AUDIO, fit_length, load_scenes, normalise, spectrogram
from sslnb.data.store.clips import open_store, pack_scenes
from sslnb.model import SoundLocaliser
from sslnb.training import feed
from sslnb.training.feed import Feed
from sslnb.training.loop import embed_sounds, train
from sslnb.training.parallel import device as here
from sslnb.training.recipe import TrainConfig
from sslnb.training.step import (
    Branches,
    compile_encoders,
    masked_spectrograms,
    total_loss,
    two_images,
    two_views,
)

# Dense bf16 operations a second, as the maker states them.
PEAK = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
CLIPS, EPOCHS = 144_000, 80


def reference_loss(model, config, images, sounds, generator, memory):
    """Equation 11 by the released code's formulas, term by term."""
    heard = masked_spectrograms(config, sounds, generator)[0]
    view_1, view_2, theta = two_images(config, images, generator)
    losses, own = [], []
    for view in (normalise(view_1), augment.warp(normalise(view_2), theta)):
        view, sound = (x.contiguous(memory_format=memory) for x in (view, heard))
        v = F.normalize(model.image_encoder(view), dim=1)
        a = F.normalize(model.audio_encoder(sound).amax((2, 3)), dim=1)
        s = torch.einsum("ichw,jc->ijhw", v, a)
        foreground = torch.sigmoid((s - config.epsilon) / config.tau)
        score = (foreground * s).sum((2, 3)) / foreground.sum((2, 3))
        diagonal = torch.arange(len(s), device=s.device)
        mine = s[diagonal, diagonal]
        back = 1 - torch.sigmoid((mine - config.epsilon_negative) / config.tau)
        back = (back * mine).sum((1, 2), keepdim=True)[:, 0] / back.sum((1, 2))[:, None]
        columns = torch.cat([score, back], 1) / config.temperature
        losses.append(F.cross_entropy(columns, torch.arange(len(s), device=s.device)))
        own.append(mine)
    inside = augment.warp(torch.ones_like(own[0]), theta) > 1 - 1e-3
    gap = (own[1] - augment.warp(own[0], theta))[inside]
    return losses[0] + losses[1] + config.geo_weight * gap.square().mean()


def relu_before_pool(model):
    """Order the first layers of both encoders, in place, as torchvision's ResNet does."""
    for network in (model.image_encoder, model.audio_encoder):
        convolution, norm, pool, _, *blocks = network
        assert isinstance(pool, nn.MaxPool2d)
        layers = [convolution, norm, nn.ReLU(), pool, *blocks]
        network._modules = nn.Sequential(*layers)._modules


class Step:
    """A model with its optimiser, and how its loss is computed."""

    def __init__(self, kind, device, memory=None):
        torch.manual_seed(0)
        self.plain = kind == "reference"
        precision = "fp32" if kind in ("reference", "fp32") else "bf16"
        self.config = TrainConfig.from_preset("paper", precision=precision)
        usual = torch.contiguous_format if self.plain else torch.channels_last
        self.memory = memory or usual
        self.model = SoundLocaliser.from_preset("paper").to(device)
        self.model.to(memory_format=self.memory)
        if self.plain:
            relu_before_pool(self.model)
        if kind == "compiled":
            compile_encoders(self.model)
        self.branches = Branches(self.model, self.config.precision)
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=1e-4, fused=not self.plain
        )

    def __call__(self, images, sounds, seed=0):
        generator = torch.Generator(images.device).manual_seed(seed)
        if self.plain:
            loss = reference_loss(
                self.model, self.config, images, sounds, generator, self.memory
            )
        else:
            views = two_views(self.config, images, sounds, generator)
            loss, _ = total_loss(self.branches, self.config, views)
        self.optimizer.zero_grad()
        loss.backward()
        return loss.item()  # waits for the device

    def timed(self, images, sounds):
        """Seconds of a whole step."""
        began = time.perf_counter()
        self(images, sounds)
        self.optimizer.step()
        if images.is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - began


class Convolutions(TorchDispatchMode):
    """Seconds that a CPU spends in convolutions and their gradients."""

    seconds = 0.0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        began = time.perf_counter()
        found = function(*args, **(kwargs or {}))
        if "convolution" in function._schema.name:
            self.seconds += time.perf_counter() - began
        return found


def difference(images, sounds, device):
    """Relative differences of loss and gradients, ours in fp32 against the reference.

    Both in one memory format: with another, convolutions round differently, and a few
    maxima and ReLUs decide otherwise.
    """
    steps = [Step(kind, device, torch.channels_last) for kind in ("reference", "fp32")]
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        losses = [step(images, sounds) for step in steps]
    grads = [
        torch.cat([p.grad.flatten() for p in step.model.parameters()]) for step in steps
    ]
    gap = (grads[1] - grads[0]).norm() / grads[0].norm()
    return abs(losses[1] / losses[0] - 1), gap.item()


def alone(batch, rounds, compiled, device):
    """Figures of the step on clips that lie on the device, each kind in turn."""
    clips = load_scenes("train", batch, 224, RELEASE_AUDIO.samples)
    images = clips.images.to(device) / 255
    sounds = spectrogram(clips.waves.to(device), RELEASE_AUDIO)
    loss_gap, gradient_gap = difference(images, sounds, device)
    print(
        f"batch {batch}, against the reference: loss differs by {loss_gap:.1e}, "
        f"gradients by {gradient_gap:.1e} of their norm",
        flush=True,
    )

    kinds = ["reference", "fp32", "bf16"] + compiled * ["compiled"]
    steps = {kind: Step(kind, device) for kind in kinds}
    for step in steps.values():
        step.timed(images, sounds)
    times = [
        [steps[kind].timed(images, sounds) for kind in kinds] for _ in range(rounds)
    ]
    figures = {
        "fp32_ratio": median(t[0] / t[1] for t in times),
        "bf16_ratio": median(t[0] / t[2] for t in times),
        "step_seconds": median(t[-1] for t in times),  # of the fastest kind
        "loss_difference": loss_gap,
        "gradient_difference": gradient_gap,
    }
    if compiled:
        figures["compiled_ratio"] = median(t[0] / t[3] for t in times)
    for kind in () if images.is_cuda else ("fp32", "bf16"):
        seconds = []
        for _ in range(rounds):
            with Convolutions() as spent:
                steps[kind](images, sounds)
            seconds.append(spent.seconds)
        figures[f"{kind}_bound"] = median(t[0] for t in times) / median(seconds)
    counter = FlopCounterMode(display=False)
    with counter:
        steps["bf16"](images, sounds)
    figures["operations_a_clip"] = counter.get_total_flops() / batch
    peak = [
        value
        for name, value in PEAK.items()
        if images.is_cuda and name in torch.cuda.get_device_name()
    ]
    if peak:
        rate = counter.get_total_flops() / figures["step_seconds"]
        figures["peak_share"] = rate / peak[0]

    generator = torch.Generator(device).manual_seed(0)

    def augmented():
        began = time.perf_counter()
        views = two_images(steps["fp32"].config, images, generator)
        augment.warp(views[1], views[2]).mean().item()
        return batch / (time.perf_counter() - began)

    figures["augment_per_second"] = median(augmented() for _ in range(rounds))
    return figures


def end_to_end(batch, rounds, steps, compiled, device):
    """Figures of epochs of `steps` steps from a packed store, the two in turn."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        with open(os.devnull, "w") as quiet, redirect_stderr(quiet):
            pack_scenes("train", batch * steps, folder / "store", size=256)
        clips = open_store(folder / "store")
        plain = Step("reference", device)
        config = TrainConfig.from_preset("paper", batch=batch, epochs=rounds + 1)
        val = load_scenes("val", 2, 224, RELEASE_AUDIO.samples)
        moments = []

        def watched(batched):
            moments[:] = [time.perf_counter()]
            yield from batched
            if device.type == "cuda":
                torch.cuda.synchronize()
            moments.append(time.perf_counter())

        feed.TABLE = 0  # 144,000 clips' spectrograms are no table either
        epochs = train(
            config, clips, val, folder / "run", progress=watched, compiled=compiled
        )
        found = []
        for _ in range(rounds + 1):
            theirs = reference_epoch(plain, clips, batch, device)
            waiting = next(epochs)["waiting"]
            found.append((theirs, moments[-1] - moments[0], waiting))
        fed = Feed(clips, RELEASE_AUDIO, device)
        began = time.perf_counter()
        embed_sounds(plain.model, fed)[0, 0].item()
        embedded = len(clips) / (time.perf_counter() - began)
    found = found[1:]  # the first of each: what is only done once
    return {
        "end_to_end_ratio": median(theirs / ours for theirs, ours, _ in found),
        "clips_per_second": len(clips) / median(ours for _, ours, _ in found),
        "waiting_percent": 100 * median(waiting for *_, waiting in found),
        "embedded_per_second": embedded,
    }


def reference_epoch(step, clips, batch, device):
    """Seconds of an epoch: each batch is read, then heard, mixed, cut and learnt from."""
    generator = torch.Generator(device).manual_seed(0)
    began = time.perf_counter()
    for index in torch.randperm(len(clips)).split(batch):
        images = clips.images[index].to(device) / 255
        corners = augment.draw_crops(len(index), images.shape[-1], 224, generator)
        heard, other = (
            spectrogram(
                fit_length(clips.waves[rows].to(device), RELEASE_AUDIO.samples),
                RELEASE_AUDIO,
            )
            for rows in (index, index.flip(0))
        )
        step.timed(augment.crop(images, corners, 224), augment.mix(heard, other, 0.3))
    return time.perf_counter() - began


def neighbours(device, count=20_000):
    """Seconds in which each of `count` clips finds its most similar other one."""
    unit = F.normalize(torch.randn(count, 512, device=device), dim=1)
    began = time.perf_counter()
    augment.most_similar(unit)[0].item()
    return time.perf_counter() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    device = here()
    parser.add_argument(
        "--batch",
        type=int,
        nargs="+",
        default=[64, 128, 256] if device.type == "cuda" else [6],
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--steps",
        type=int,
        help="an epoch, end to end",
        default=20 if device.type == "cuda" else 2,
    )
    parser.add_argument(
        "--compile",
        action="store_true",
        help="by torch.compile too, and that alone end to end",
    )
    parser.add_argument(
        "--alone",
        action="store_true",
        help="the step alone, neither end to end nor the search for similar sounds",
    )
    parser.add_argument(
        "--stream",
        action="store_true",
        help="end to end as where clips do not fit on the GPU: through pinned memory",
    )
    options = parser.parse_args()
    torch.backends.cudnn.benchmark = True  # as in training
    feed.ROOM = 0 if options.stream else feed.ROOM
    search = 0.0 if options.alone else median(neighbours(device) for _ in range(3))
    best, told, fastest = {}, [], 0.0
    for batch in options.batch:
        try:
            figures = alone(batch, options.rounds, options.compile, device)
            if not options.alone:
                figures |= end_to_end(
                    batch, options.rounds, options.steps, options.compile, device
                )
                figures |= {"batch": batch, "neighbours_seconds": search}
        except RuntimeError as error:
            if "out of memory" not in str(error):
                raise
            told.append(f"{batch} do not fit in memory")
            break
        rate = figures.get("clips_per_second", batch / figures["step_seconds"])
        told.append(f"{batch}: {rate:.4g} clips a second")
        if rate > fastest:
            best, fastest = figures, rate
    if not best:
        raise SystemExit(f"error: {told[-1]}; give a smaller --batch")
    if device.type == "cuda" and not options.alone:
        epoch = (
            CLIPS / best["clips_per_second"]
            + CLIPS / best["embedded_per_second"]
            + search * (CLIPS / 20_000) ** 2
        )
        best["hours"] = EPOCHS * epoch / 3600
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux: kB
    best["memory_gb"] = (
        torch.cuda.max_memory_allocated() if device.type == "cuda" else most
    ) / 1e9
    record(
        best,
        f"training: 224², 257 × 670, 14 × 14 × 512, {torch.get_num_threads()} "
        f"threads, {options.rounds} rounds in turn, "
        + (
            "the step alone"
            if options.alone
            else f"end to end {options.steps} steps a round"
        )
        + f"{', compiled' * options.compile}"
        f"{', streamed' * options.stream}; batches {'; '.join(told)}",
    )


if __name__ == "__main__":
    main()
