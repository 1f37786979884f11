"""The training loop (notebook 05; sections 3.3 and 4.1).

    >>> config = TrainConfig(model="F", epochs=12)
    >>> for metrics in train(config, clips, val, "runs/mine"):
    ...     print(metrics["epoch"], metrics["loss"], metrics["val_AUC"])

    python -m sslnb.train --model F --out runs/mine      # the same, on SoundStamps

One loop for every preset and for the models A to F of table 1, which are six
configurations of it. Everything random in an epoch follows from (seed, epoch), so
that a run that is stopped and resumed ends like one that never was.
"""

import argparse
import json
import math
import os
import time
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from sslnb import augment, localise
from sslnb.data import load_scenes
from sslnb.losses import contrastive_loss, equivariance_loss
from sslnb.media import normalise, spectrogram
from sslnb.model import PRESETS, SoundLocaliser, respond

# Table 1: what each model has beside the contrastive loss.
TABLE_1 = {
    "A": (),
    "B": ("app",),
    "C": ("app", "geo"),
    "D": ("app", "geo", "mask"),
    "E": ("app", "geo", "mask", "mix"),
    "F": ("app", "geo", "mask", "mix", "equivariance"),
}

SCENES = 5_000  # of SoundStamps, for a whole run of the laptop preset


@dataclass(frozen=True)
class TrainConfig:
    """Everything that a run depends on beside its clips. Defaults: the laptop's."""

    preset: str = "laptop"
    model: str = "F"  # of table 1
    epochs: int = 12
    batch: int = 32
    rate: float = 3e-3  # the highest of the schedule
    warm_up: float = 0.1  # share of the steps on which the rate rises
    weight_decay: float = 1e-4
    seed: int = 0
    form: str = "release"  # of the contrastive loss, or "paper"
    epsilon: float = 0.65
    epsilon_negative: float = 0.4
    tau: float = 0.03
    temperature: float = 0.07
    geo_weight: float = 2.0  # λ_geo of eq. 11
    crop: tuple = (0.3, 1.0)  # T_geo: range of the crop's share of the area
    scale_p: float = 0.5  # T_geo: how often the content shrinks to half
    mix_largest: float = 0.65  # α of eq. 4 in the last epoch
    # Share of the run over which T_app and T_mask become as frequent as the paper
    # has them; 0: from the start, as in the paper. A short run needs an easy start.
    curriculum: float = 0.4
    precision: str = "bf16"  # of the encoders; or "fp32". Losses are always fp32

    def __post_init__(self):
        right = {
            "preset": (self.preset in PRESETS, " or ".join(PRESETS)),
            "model": (self.model in TABLE_1, "one of A to F"),
            "epochs": (self.epochs >= 1, "1 or more"),
            "batch": (self.batch >= 2, "2 or more: one clip has no unpaired sound"),
            "form": (self.form in ("release", "paper"), "release or paper"),
            "precision": (self.precision in ("bf16", "fp32"), "bf16 or fp32"),
        }
        for name, (ok, need) in right.items():
            if not ok:
                raise ValueError(f"{name} is {getattr(self, name)!r}; need {need}")
        object.__setattr__(self, "crop", tuple(self.crop))  # a list, from JSON

    @property
    def parts(self):
        return TABLE_1[self.model]


def learning_rate(config, step, steps):
    """Rises linearly, falls as a cosine to zero: the one-cycle schedule."""
    rise = max(config.warm_up * steps, 1)
    if step < rise:
        return config.rate * (step + 1) / (rise + 1)
    return config.rate * 0.5 * (1 + math.cos(math.pi * (step - rise) / (steps - rise)))


def strength_at(config, epoch):
    """How frequent T_app and T_mask are in an epoch, 0 to 1 of their own p."""
    rising = config.curriculum * config.epochs
    return min(1.0, epoch / rising) if rising else 1.0


def scaled(transform, strength):
    """A transform with every probability (a field named …_p) times `strength`."""
    names = [field.name for field in fields(transform) if field.name.endswith("_p")]
    return replace(transform, **{n: getattr(transform, n) * strength for n in names})


def draw_views(config, images, generator, strength=1.0):
    """Two views of images (B, 3, S, S) in [0, 1], and the theta between them.

    View 1 has T_app; view 2 its own T_app, then T_geo (figure 2). A model without
    T_app has one view, seen twice; theta is None where the two are aligned.
    """
    size = images.shape[-1]
    # the blur of appendix A.1 is meant for pictures of 224 pixels
    appearance = augment.Appearance(sigma=(0.1 * size / 224, 2.0 * size / 224))
    appearance = scaled(appearance, strength)
    geometric = augment.Geometric(crop=config.crop, scale_p=config.scale_p)
    if "app" not in config.parts:
        return images, images, None
    view_1, view_2 = (
        augment.apply_appearance(images, appearance.draw(len(images), generator))
        for _ in range(2)
    )
    if "geo" not in config.parts:
        return view_1, view_2, None
    return view_1, view_2, geometric.draw(len(images), generator)


def loss_of_batch(model, config, images, spectrograms, generator, strength=1.0):
    """Total loss (eq. 11) of images (B, 3, S, S) and spectrograms (B, 1, F, T).

    Returns the scalar and its parts. The sound is encoded once: both branches
    hear the same masked spectrogram, as in the released code.
    """
    device = images.device.type

    def encode(encoder, x):
        x = x.contiguous(memory_format=torch.channels_last)
        with torch.autocast(device, torch.bfloat16, config.precision == "bf16"):
            return encoder(x)

    if "mask" in config.parts:
        draw = scaled(augment.Mask(), strength).draw(len(images), generator)
        fill = model.config.audio.silence
        spectrograms = augment.apply_mask(spectrograms, draw, fill)
    a = encode(model.embed_audio, spectrograms)  # (B, C)

    def contrast(view):
        similarity = respond(encode(model.embed_image, view), a)  # (B, B, h, w)
        loss = contrastive_loss(
            similarity, config.form, config.epsilon, config.epsilon_negative,
            config.tau, config.temperature,
        )
        return loss, similarity.diagonal().permute(2, 0, 1)  # own maps (B, h, w)

    view_1, view_2, theta = draw_views(config, images, generator, strength)
    loss_1, response_1 = contrast(normalise(view_1))
    if view_2 is view_1:
        return 2 * loss_1, {"contrastive": loss_1.item()}
    view_2 = normalise(view_2)
    loss_2, response_2 = contrast(view_2 if theta is None else augment.warp(view_2, theta))
    loss = loss_1 + loss_2
    parts = {"contrastive": (loss_1.item() + loss_2.item()) / 2}
    if "equivariance" in config.parts:
        geo = equivariance_loss(response_1, response_2, theta)
        loss = loss + config.geo_weight * geo
        parts["equivariance"] = geo.item()
    return loss, parts


@torch.no_grad()
def embed_sounds(model, spectrograms, block=128):
    """Embeddings (N, C) of all sounds by the current audio encoder, in eval mode."""
    model.eval()
    device = next(model.parameters()).device
    parts = [model.embed_audio(s.to(device)) for s in spectrograms.split(block)]
    model.train()
    return torch.cat(parts)


def batches(count, config, generator):
    """Indices of every clip once, shuffled; a last clip alone joins the batch before."""
    order = torch.randperm(count, generator=generator)
    parts = list(order.split(config.batch))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def train(config, clips, val, folder, resume=False, progress=lambda batches: batches):
    """Train on `clips`, validate on `val`; yields the metrics of every epoch.

    config: TrainConfig; clips, val: data.Clips, the second of the split `val`, which
    alone chooses. Writes into `folder`: the best model on `val` by AUC
    (model.safetensors, model.json), metrics.jsonl, and state.safetensors, from which
    resume=True goes on. `progress` wraps an epoch's batches (`tqdm`, for one).

    Raises ValueError where clips are fewer than two, where val is not of the split
    `val`, or where a run is resumed with another configuration; FloatingPointError
    names the step and the clips at which the loss is not finite.
    """
    if len(clips) < 2:
        raise ValueError(f"{len(clips)} clip(s) to train on; need at least two")
    wrong = [name for name in val.names if not name.startswith("val/")]
    if wrong:
        raise ValueError(f"only the split val may choose a model; found {wrong[0]}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    torch.manual_seed(config.seed)
    model = SoundLocaliser.from_preset(config.preset)
    model.to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), weight_decay=config.weight_decay)
    history = load_state(folder, config, model, optimizer) if resume else []

    sounds = torch.cat(
        [spectrogram(waves, model.config.audio) for waves in clips.waves.split(128)]
    )
    for epoch in range(len(history), config.epochs):
        started = time.perf_counter()
        shuffle = torch.Generator().manual_seed(config.seed * 100_003 + epoch)
        generator = torch.Generator(device).manual_seed(config.seed * 100_003 + epoch)
        if "mix" in config.parts:
            similar = augment.most_similar(embed_sounds(model, sounds)).cpu()
            alpha = augment.mixing_weight(epoch, config.epochs, config.mix_largest)

        strength = strength_at(config, epoch)
        model.train()
        parts = batches(len(clips), config, shuffle)
        sums = {}
        for step, index in enumerate(progress(parts), start=epoch * len(parts)):
            images = clips.images[index].to(device) / 255  # (B, 3, S, S)
            heard = sounds[index].to(device)  # (B, 1, F, T)
            if "mix" in config.parts:
                heard = augment.mix(heard, sounds[similar[index]].to(device), alpha)
            loss, terms = loss_of_batch(
                model, config, images, heard, generator, strength
            )
            if not loss.isfinite():
                names = ", ".join(clips.names[i] for i in index)
                raise FloatingPointError(
                    f"loss is {loss.item()} at step {step} (epoch {epoch + 1}); "
                    f"clips {names}; {config}"
                )
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(config, step, len(parts) * config.epochs)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            for name, value in {"loss": loss.item(), **terms}.items():
                sums[name] = sums.get(name, 0) + value * len(index)

        metrics = {"epoch": epoch + 1}
        metrics |= {name: total / len(clips) for name, total in sums.items()}
        scores = localise.score(localise.respond_to(model, val), val)
        metrics |= {f"val_{name}": value for name, value in scores.items()}
        metrics["seconds"] = time.perf_counter() - started
        history.append(metrics)
        if metrics["val_AUC"] == max(m["val_AUC"] for m in history):
            model.save(folder, training=asdict(config), clips=len(clips), metrics=metrics)
        save_state(folder, config, model, optimizer, history)
        yield metrics


def save_state(folder, config, model, optimizer, history):
    """Everything that resuming needs, whole or not at all, in one file."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
    text = json.dumps({"config": asdict(config), "history": history})
    tensors = {name: value.contiguous() for name, value in tensors.items()}
    save_file(tensors, folder / "state.tmp", metadata={"state": text})
    os.replace(folder / "state.tmp", folder / "state.safetensors")
    lines = "".join(json.dumps(metrics) + "\n" for metrics in history)
    (folder / "metrics.jsonl").write_text(lines, encoding="utf-8")


def load_state(folder, config, model, optimizer):
    """Put a saved state into model and optimizer; the metrics of its epochs."""
    path = folder / "state.safetensors"
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: there is no run to resume")
    try:
        with safe_open(path, framework="pt") as file:
            text = file.metadata()["state"]
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"{path} is damaged: {error}; start anew") from error
    saved = json.loads(text)
    before, now = saved["config"], json.loads(json.dumps(asdict(config)))
    for name in now:
        if before.get(name) != now[name]:
            raise ValueError(
                f"{path} was trained with {name} = {before.get(name)!r}, not "
                f"{now[name]!r}: resume with the same configuration or start anew"
            )
    model.load_state_dict(
        {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    )
    state = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".")
            state.setdefault(int(index), {})[key] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    return saved["history"]


def load_training(preset="laptop", scenes=SCENES, val_scenes=200, progress=lambda s: s):
    """SoundStamps to train and to validate on, as (clips, val), at a preset's size."""
    size, samples = PRESETS[preset].image_size, PRESETS[preset].audio.samples
    return (
        load_scenes("train", scenes, size, samples, progress=progress),
        load_scenes("val", val_scenes, size, samples),
    )


def main(arguments=None):
    """The command line: every field of TrainConfig is an option."""
    parser = argparse.ArgumentParser(
        "python -m sslnb.train", description="Train a model on SoundStamps.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--out", required=True, help="folder to write into")
    parser.add_argument("--scenes", type=int, default=SCENES, help="scenes to train on")
    parser.add_argument("--resume", action="store_true", help="go on with --out")
    for field in fields(TrainConfig):
        many = {"nargs": 2, "type": float} if field.type is tuple else {"type": field.type}
        parser.add_argument(f"--{field.name.replace('_', '-')}", default=field.default,
                            help="see TrainConfig", **many)
    options = vars(parser.parse_args(arguments))
    out, scenes, resume = (options.pop(name) for name in ("out", "scenes", "resume"))
    try:
        config = TrainConfig(**options)
    except ValueError as error:
        parser.error(str(error))
    clips, val = load_training(config.preset, scenes)
    for metrics in train(config, clips, val, out, resume):
        print("  ".join(f"{k} {v:.4g}" for k, v in metrics.items()), flush=True)


if __name__ == "__main__":
    main()
