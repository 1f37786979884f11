"""The training loop (notebook 05; sections 3.3 and 4.1).

    >>> config = TrainConfig.from_preset("laptop", model="F", epochs=12)
    >>> for metrics in train(config, clips, val, "runs/mine"):
    ...     print(metrics["epoch"], metrics["loss"], metrics["val_AUC"])

One loop for every preset, for one process or many, and for the models A to F of
table 1, which are six configurations of it. Everything random in an epoch follows
from (seed, epoch), so that a run that is stopped and resumed ends like one that
never was.
"""

import argparse
import sys
import time
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, fields
from pathlib import Path

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from sslnb import augment, localise
from sslnb.data import store
from sslnb.data.clips import load_scenes, refuse_leaks
from sslnb.data.field.annotations import read_annotations
from sslnb.data.field.layouts import open_folder
from sslnb.data.media import normalise
from sslnb.losses import contrastive_loss
from sslnb.model import PRESETS, SoundLocaliser
from sslnb.training import parallel
from sslnb.training.checkpoint import hold, load_state, refuse_another_run, save_state
from sslnb.training.feed import Feed
from sslnb.training.recipe import TrainConfig, learning_rate_at, strength_at
from sslnb.training.step import Branches, compile_encoders, loss_of_batch

SCENES = 5_000  # of SoundStamps, for a whole run of the laptop preset
VAL = 400  # clips that choose the best epoch


@torch.no_grad()
def embed_sounds(model, feed, block=128):
    """Embeddings (N, C) of all sounds by the current audio encoder, in eval mode."""
    model.eval()
    mine = torch.arange(len(feed))[parallel.share(len(feed))]
    parts = [model.embed_audio(feed.sounds(index)) for index in mine.split(block)]
    model.train()
    return parallel.gather(torch.cat(parts), len(feed))


def batches(count, config, generator):
    """Indices of every clip once, shuffled; a last batch too small for the processes,
    or of one clip, joins the batch before.
    """
    order = torch.randperm(count, generator=generator)
    parts = list(order.split(config.batch))
    if len(parts) > 1 and len(parts[-1]) < max(2, parallel.world()):
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def check_clips(clips, val, benchmark, allow_leaks):
    """Refuse clips that cannot train, and a val or benchmark that training has seen."""
    if len(clips) < max(2, parallel.world()):
        raise ValueError(f"{len(clips)} clip(s) to train on; need at least two, and one "
                         "a process")
    wrong = [name for name in val.names if "/" in name and not name.startswith("val/")]
    if wrong:
        raise ValueError(f"only the split val may choose a model; found {wrong[0]}")
    for name, others, why in (
        ("the training clips", clips.names, "what chose the model must be new to it"),
        ("the benchmark", benchmark, "a test must not choose the model"),
    ):
        both = set(val.names).intersection(others)
        if both:
            raise ValueError(f"{len(both)} clips of val are in {name} too, {min(both)} for "
                             f"one: {why}")
    if benchmark:
        refuse_leaks(clips.names, benchmark, allow_leaks)


@torch.no_grad()
def validate(model, val, config):
    """Scores of a model on val: of its maps where boxes are known, else the loss."""
    if all(boxes is not None for boxes in val.boxes):
        return localise.score(localise.respond_to(model, val), val)
    feed = Feed(val, model.config.audio, next(model.parameters()).device)
    model.eval()
    losses = [
        contrastive_loss(model(normalise(model.fit(images)), heard), config.form)
        for _, images, heard, _ in feed.batches(torch.arange(len(val)).split(config.batch))
        if len(images) > 1
    ]
    return {"loss": torch.stack(losses).mean().item()}


@contextmanager
def told(place, names, config):
    """Errors inside say where they arose, on which clips, under what settings.

    place: {"epoch", "step", "clips": indices}, kept up to date by whoever is inside.
    """
    try:
        yield
    except (RuntimeError, FloatingPointError, OSError) as error:
        kinds = (FloatingPointError, OSError, RuntimeError)
        kind = next(kind for kind in kinds if isinstance(error, kind))
        clips = ", ".join(names[i] for i in place["clips"]) or "none yet"
        raise kind(f"{error}; at step {place['step']}, epoch {place['epoch']}; clips "
                   f"{clips}; {config}. The last whole state is intact: mend the cause, "
                   "then resume") from error


def cut(images, size, generator, batch):
    """Of images (b, 3, S, S) a cut of `size` pixels, each at a place of its own."""
    corners = augment.draw_crops(batch, images.shape[-1], size, generator)
    return augment.crop(images, corners[parallel.share(batch)], size)


def running_mean(config):
    """How AveragedModel goes on; over few steps the mean is short, of a tenth of them."""
    def update(means, values, count):
        decay = min(config.ema_decay, (1 + count.item()) / (10 + count.item()))
        get_ema_multi_avg_fn(decay)(means, values, count)

    return update


def quality(metrics):
    """By what the best epoch is chosen: AUC and pointing game on val, else its loss."""
    if "val_AUC" in metrics:
        return metrics["val_AUC"] + metrics["val_pointing"]
    return -metrics["val_loss"]


def train(config, clips, val, folder, resume=False, progress=lambda batches: batches,
          benchmark=(), allow_leaks=False, workers=2, compiled=False):
    """Train on `clips`, validate on `val`; yields the metrics of every epoch.

    config: TrainConfig; clips, val: data.Clips, the second of the split `val`, which
    alone chooses. Writes into `folder`: the best model on `val` (model.safetensors,
    model.json), metrics.jsonl, and the last two states, from which resume=True goes
    on; a finished run says so. `progress` wraps an epoch's batches (`tqdm`, for one).
    benchmark: names of the clips to be scored; training on one of them is refused
    unless allow_leaks. workers: threads that read ahead. compiled: by torch.compile.

    Under torchrun each process calls this with the same arguments; all yield, and
    only the first writes.

    Raises ValueError where clips are fewer than two, where val is not of the split
    `val`, where clips leak, where a run is resumed with another configuration or other
    clips, or where several processes should be compiled; FileExistsError where `folder`
    holds a run and resume is False; BlockingIOError where a run is at work in it;
    FloatingPointError names the step and the clips at which the loss is not finite,
    RuntimeError those at which a step failed, OSError a file that cannot be written.
    """
    check_clips(clips, val, benchmark, allow_leaks)
    if compiled and parallel.world() > 1:
        raise ValueError("torch.compile cannot see through the batch-norm of several "
                         "processes: compile where there is one")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with hold(folder) if parallel.rank() == 0 else nullcontext():
        if not resume:
            refuse_another_run(folder)
        yield from loop(config, clips, val, folder, resume, progress, workers, compiled)


def loop(config, clips, val, folder, resume, progress, workers, compiled):
    """The epochs of `train`, in a folder that is this run's alone."""
    device, first = parallel.device(), parallel.rank() == 0
    torch.manual_seed(config.seed)
    model = parallel.synchronised(SoundLocaliser.from_preset(config.preset).to(device))
    model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), weight_decay=config.weight_decay,
                                 fused=True)
    parts, kept = {"model": model}, model
    if config.ema_decay:
        average = AveragedModel(model, use_buffers=True, multi_avg_fn=running_mean(config))
        parts, kept = parts | {"average": average}, average.module
    data = {"training": clips.fingerprint(), "validation": val.fingerprint()}
    history = load_state(folder, config, data, parts, optimizer) if resume else []
    if first and (end := len(history)) == config.epochs:
        print(f"{folder}: epoch {end} of {end} is done, nothing is left to train")
    if compiled:
        compile_encoders(model)
    torch.backends.cudnn.benchmark = True  # shapes stay the same: the fastest kernels
    branches = parallel.distributed(Branches(model, config.precision))
    feed = Feed(clips, model.config.audio, device, workers)

    for epoch in range(len(history), config.epochs):
        started = time.perf_counter()
        shuffle = torch.Generator().manual_seed(config.seed * 100_003 + epoch)
        generator = torch.Generator(device).manual_seed(config.seed * 100_003 + epoch)
        steps = batches(len(clips), config, shuffle)
        mine = [index[parallel.share(len(index))] for index in steps]
        similar, alpha, strength = None, 0.0, strength_at(config, epoch)
        place = {"epoch": epoch + 1, "step": epoch * len(steps), "clips": ()}
        with told(place, clips.names, config):
            if "mix" in config.parts:
                alpha = augment.mixing_weight(epoch, config.epochs, config.mix_alpha)
            if alpha:
                similar = augment.most_similar(embed_sounds(model, feed)).cpu()

            model.train()
            sums = {}
            batched = enumerate(progress(feed.batches(mine, similar)))
            for number, (index, images, heard, other) in batched:
                step, batch = epoch * len(steps) + number, len(steps[number])
                place |= {"step": step, "clips": index}
                images = cut(images, model.config.image_size, generator, batch) / 255
                if other is not None:
                    heard = augment.mix(heard, other, alpha)  # (b, 1, F, T)
                loss, terms = loss_of_batch(
                    branches, config, images, heard, generator, strength, batch
                )
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate_at(config, step, len(steps) * config.epochs)
                optimizer.zero_grad()
                terms = {name: parallel.total(term) / parallel.world() * batch
                         for name, term in {"loss": loss.detach(), **terms}.items()}
                # before the way back, which a GPU then begins without waiting for us
                if not terms["loss"].isfinite():
                    raise FloatingPointError(f"the loss is {terms['loss'].item()}")
                loss.backward()
                optimizer.step()
                if config.ema_decay:
                    average.update_parameters(model)
                sums = {name: sums.get(name, 0) + term for name, term in terms.items()}

            metrics = {"epoch": epoch + 1}
            metrics |= {name: (term / len(clips)).item() for name, term in sums.items()}
            trained = time.perf_counter() - started
            if first:
                scores = validate(kept, val, config)
                metrics |= {f"val_{name}": score for name, score in scores.items()}
            metrics |= {"seconds": time.perf_counter() - started,
                        "waiting": feed.waited / trained}  # share of the training
            history.append(metrics)
            if first:
                if quality(metrics) == max(map(quality, history)):
                    kept.save(folder, training=asdict(config), clips=len(clips),
                              metrics=metrics)
                save_state(folder, config, data, parts, optimizer, history)
        yield metrics


def load_training(preset="laptop", scenes=SCENES, val_clips=VAL, data="soundstamps",
                  root="", listed="", skip_damaged=False, progress=lambda s: s):
    """Clips to train and to validate on, as (clips, val), at a preset's size.

    data="soundstamps" composes `scenes` of its split train and `val_clips` of val.
    data="packed" opens the store `root`; data="vggsound" the store `root`/packed, which
    is first made of the prepared clips in `root` (sslnb/data/field/layouts.py) or of those in the
    list of names `listed`; a missing or damaged clip is an error, or left out and told
    (`skip_damaged`). Of a store the last `val_clips` are val; of one of scenes, val is
    composed. ValueError where `data` is another.
    """
    size, audio = PRESETS[preset].image_size, PRESETS[preset].audio
    if data == "soundstamps":
        return (load_scenes("train", scenes, size, audio.samples, progress=progress),
                load_scenes("val", val_clips, size, audio.samples))
    if data not in ("packed", "vggsound"):
        raise ValueError(f"data is {data!r}; need soundstamps, packed or vggsound")
    if not root:
        raise ValueError(f"data is {data!r}: root must say where it lies")
    path = Path(root)
    if data == "vggsound":
        path = path / "packed"
        if parallel.rank() == 0:
            folder = open_folder(root, names=listed or None)
            print(folder.describe())
            store.pack(folder, path, skip_damaged=skip_damaged)
        while not store.is_whole(path):  # the first of many may pack for an hour
            time.sleep(1)
    clips = store.open_store(path)
    if clips.names[0].startswith("train/"):
        return clips, load_scenes("val", val_clips, size, audio.samples)
    if not 0 < val_clips < len(clips) - 1:
        raise ValueError(
            f"{path} has {len(clips)} clips; {val_clips} of them cannot be held out to "
            "validate on: " + ("pack four or more" if len(clips) < 4 else
            f"set --val-clips (val_scenes in notebook 05) to 1 … {len(clips) - 2}, for "
            f"one to {max(2, len(clips) // 10)}"))
    return clips.part(slice(-val_clips)), clips.part(slice(-val_clips, None))


def main(arguments=None):
    """The command line: every field of TrainConfig is an option."""
    parser = argparse.ArgumentParser(
        "python -m sslnb.training.loop", description="Train a model; under torchrun, on many GPUs.",
        epilog="Defaults: laptop / paper, where the presets differ.",
    )
    parser.add_argument("--out", required=True, help="folder for this run alone")
    parser.add_argument("--data", default="soundstamps", help="soundstamps, vggsound (a "
                        "folder of prepared clips) or packed (a store) [soundstamps]")
    parser.add_argument("--root", default="", help="where the data lies")
    parser.add_argument("--list", default="", dest="listed", help="names of the clips of "
                        "vggsound to train on, one a line [all]")
    parser.add_argument("--benchmark", default="", help="annotations of the clips that "
                        "will be scored: training on one of them is refused [none]")
    parser.add_argument("--skip-damaged", action="store_true", help="leave out clips of "
                        "vggsound that are missing or damaged, and list them in the store")
    parser.add_argument("--allow-leaks", action="store_true", help="train on them")
    parser.add_argument("--scenes", type=int, default=SCENES,
                        help=f"of SoundStamps, to train on [{SCENES}]")
    parser.add_argument("--val-clips", type=int, default=VAL,
                        help=f"to choose the best epoch by [{VAL}]")
    parser.add_argument("--workers", type=int, default=2, help="threads that read "
                        "clips ahead where they do not fit on the GPU [2]")
    parser.add_argument("--compile", action="store_true", help="compile the encoders "
                        "by torch.compile before the first step; in one process only")
    parser.add_argument("--resume", action="store_true", help="go on with the run in "
                        "--out, from its last whole state")
    laptop, paper = (TrainConfig.from_preset(preset) for preset in ("laptop", "paper"))
    for field in fields(TrainConfig):
        values = [getattr(c, field.name) for c in (laptop, paper)]
        default = values[0] if values[0] == values[1] or field.name == "preset" else (
            f"{values[0]} / {values[1]}")
        kind = {tuple: {"nargs": 2, "type": float},
                bool: {"action": argparse.BooleanOptionalAction}}
        parser.add_argument(
            f"--{field.name.replace('_', '-')}", default=argparse.SUPPRESS,
            help=f"{field.metadata['help']} [{default}]".replace("%", "%%"),
            **kind.get(field.type, {"type": field.type}),
        )
    options = vars(parser.parse_args(arguments))
    given = {f.name: options.pop(f.name) for f in fields(TrainConfig) if f.name in options}
    try:
        config = TrainConfig.from_preset(given.pop("preset", "laptop"), **given)
    except ValueError as error:
        parser.error(str(error))
    with parallel.connect():
        try:
            run(config, **options)
        except (ValueError, OSError, RuntimeError, FloatingPointError) as error:
            # at once: where another process is lost, this one has little time
            print(f"error: {error}", file=sys.stderr, flush=True)
            sys.exit(1)


def run(config, out, benchmark, allow_leaks, resume, workers, compile, **data):
    """Train as the command line says, and print the metrics of every epoch."""
    first = parallel.rank() == 0
    clips, val = load_training(config.preset, **data)
    tested = read_annotations(benchmark) if benchmark else {}
    if first and not tested and data["data"] != "soundstamps":
        print("Not checked for leaks: give --benchmark, the annotations of what the model "
              "will be scored on.")

    def bar(steps):
        return tqdm(steps, unit="step", leave=False, disable=not first)

    for metrics in train(config, clips, val, out, resume, bar, tested, allow_leaks,
                         workers, compile):
        if first:
            print("  ".join(f"{k} {v:.4g}" for k, v in metrics.items()), flush=True)


if __name__ == "__main__":
    main()
