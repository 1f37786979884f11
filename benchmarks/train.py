"""The training step at the paper's shapes, against a plain reference, in turn.

    python -m benchmarks.train                 # two CPU cores: about five minutes
    python -m benchmarks.train --batch 256     # on a GPU

The reference does what the released code does: two passes, each of which encodes
the picture and the sound, in fp32 and contiguous memory. It is written anew from
equations and tables, and must have the same loss and gradients.
"""

import argparse
import resource
import time
from statistics import median

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.ledger import record
from sslnb import augment
from sslnb.data import load_scenes
from sslnb.media import RELEASE_AUDIO, normalise, spectrogram
from sslnb.model import SoundLocaliser
from sslnb.parallel import device as here
from sslnb.recipe import recipe
from sslnb.step import Branches, draw_views, loss_of_batch, mask_sounds

# Dense bf16 operations a second, as the maker states them.
PEAK = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
CLIPS, EPOCHS = 144_000, 80


def reference_loss(model, config, images, sounds, generator, memory):
    """Equation 11 by the released code's formulas, term by term."""
    heard = mask_sounds(config, sounds, generator, 1.0, len(images), -100.0)[0]
    view_1, view_2, theta = draw_views(config, images, generator)
    losses, own = [], []
    for view in (normalise(view_1), augment.warp(normalise(view_2), theta)):
        view, sound = (x.contiguous(memory_format=memory) for x in (view, heard))
        v = F.normalize(model.image_encoder(view), dim=1)
        a = F.normalize(model.audio_encoder(sound).amax((2, 3)), dim=1)
        s = torch.einsum("ichw,jc->ijhw", v, a)
        foreground = torch.sigmoid((s - config.epsilon) / config.tau)
        score = (foreground * s).sum((2, 3)) / foreground.sum((2, 3))
        mine = torch.stack([s[i, i] for i in range(len(s))])
        back = 1 - torch.sigmoid((mine - config.epsilon_negative) / config.tau)
        back = (back * mine).sum((1, 2), keepdim=True)[:, 0] / back.sum((1, 2))[:, None]
        columns = torch.cat([score, back], 1) / config.temperature
        losses.append(F.cross_entropy(columns, torch.arange(len(s), device=s.device)))
        own.append(mine)
    inside = augment.warp(torch.ones_like(own[0]), theta) > 1 - 1e-3
    gap = (own[1] - augment.warp(own[0], theta))[inside]
    return losses[0] + losses[1] + config.geo_weight * gap.square().mean()


class Step:
    """A model with its optimiser, and how its loss is computed."""

    def __init__(self, kind, device, memory=None):
        torch.manual_seed(0)
        self.config = recipe("paper", precision="bf16" if kind == "bf16" else "fp32")
        self.plain = kind == "reference"
        usual = torch.contiguous_format if self.plain else torch.channels_last
        self.memory = memory or usual
        self.model = SoundLocaliser.from_preset("paper").to(device)
        self.model.to(memory_format=self.memory)
        self.branches = Branches(self.model, self.config.precision)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-4,
                                          fused=not self.plain)

    def __call__(self, images, sounds, seed=0):
        generator = torch.Generator(images.device).manual_seed(seed)
        if self.plain:
            loss = reference_loss(self.model, self.config, images, sounds, generator,
                                  self.memory)
        else:
            loss, _ = loss_of_batch(self.branches, self.config, images, sounds, generator)
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


def difference(images, sounds, device):
    """Relative differences of loss and gradients, ours in fp32 against the reference.

    Both in one memory format: with another, convolutions round differently, and a few
    maxima and ReLUs decide otherwise.
    """
    steps = [Step(kind, device, torch.channels_last) for kind in ("reference", "fp32")]
    losses = [step(images, sounds) for step in steps]
    grads = [torch.cat([p.grad.flatten() for p in step.model.parameters()])
             for step in steps]
    gap = (grads[1] - grads[0]).norm() / grads[0].norm()
    return abs(losses[1] / losses[0] - 1), gap.item()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    device = here()
    parser.add_argument("--batch", type=int, default=64 if device.type == "cuda" else 6)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    batch, generator = options.batch, torch.Generator(device).manual_seed(0)
    clips = load_scenes("train", batch, 224, RELEASE_AUDIO.samples)
    images = clips.images.to(device) / 255
    sounds = spectrogram(clips.waves.to(device), RELEASE_AUDIO)
    loss_gap, gradient_gap = difference(images, sounds, device)
    print(f"against the reference: loss differs by {loss_gap:.1e}, gradients by "
          f"{gradient_gap:.1e} of their norm", flush=True)

    kinds = ("reference", "fp32", "bf16")
    steps = {kind: Step(kind, device) for kind in kinds}
    for step in steps.values():
        step.timed(images, sounds)
    rounds = [[steps[kind].timed(images, sounds) for kind in kinds]
              for _ in range(options.rounds)]
    figures = {
        "fp32_ratio": median(r[0] / r[1] for r in rounds),
        "bf16_ratio": median(r[0] / r[2] for r in rounds),
        "step_seconds": median(r[2] for r in rounds),
        "loss_difference": loss_gap, "gradient_difference": gradient_gap,
    }
    counter = FlopCounterMode(display=False)
    with counter:
        steps["bf16"](images, sounds)
    figures["operations_a_clip"] = counter.get_total_flops() / batch
    peak = [value for name, value in PEAK.items()
            if images.is_cuda and name in torch.cuda.get_device_name()]
    if peak:
        rate = counter.get_total_flops() / figures["step_seconds"]
        figures["peak_share"] = rate / peak[0]
        figures["hours"] = CLIPS * EPOCHS * figures["step_seconds"] / batch / 3600

    def augmented():
        began = time.perf_counter()
        views = draw_views(steps["fp32"].config, images, generator)
        augment.warp(views[1], views[2]).mean().item()
        return batch / (time.perf_counter() - began)

    def neighbours():
        unit = F.normalize(torch.randn(20_000, 512, device=device), dim=1)
        began = time.perf_counter()
        augment.most_similar(unit)[0].item()
        return time.perf_counter() - began

    figures["augment_per_second"] = median(augmented() for _ in range(options.rounds))
    figures["neighbours_seconds"] = median(neighbours() for _ in range(3))
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux: kB
    figures["memory_gb"] = (torch.cuda.max_memory_allocated() if images.is_cuda
                            else most) / 1e9
    record(figures, f"training step: batch {batch}, 224², 257 × 670, 14 × 14 × 512, "
           f"{torch.get_num_threads()} threads, {options.rounds} rounds in turn")


if __name__ == "__main__":
    main()
