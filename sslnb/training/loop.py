"""The training loop (notebook 05; sections 3.3 and 4.1).

    >>> config = TrainConfig.from_preset("laptop", model="F", epochs=12)
    >>> for metrics in train(config, clips, val, "runs/mine"):
    ...     print(metrics["epoch"], metrics["loss"], metrics["val_AUC"])

One loop for every preset, for one process or many, and for the models A to F of
table 1, which are six configurations of it. Everything random in an epoch follows
from (seed, epoch), so that a run that is stopped and resumed ends like one that
was never stopped.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from sslnb import augment, localise
from sslnb.cores import Cores
from sslnb.data.clips import Clips
from sslnb.data.media import normalise
from sslnb.model import SoundLocaliser
from sslnb.training import parallel
from sslnb.training.checkpoint import load_state, save_state
from sslnb.training.clips import check_clips
from sslnb.training.feed import Feed
from sslnb.training.folder import run_folder
from sslnb.training.recipe import TrainConfig, learning_rate_at, strength_at
from sslnb.training.report import EpochReport
from sslnb.training.state import TrainState
from sslnb.training.step import (
    Branches,
    at_model_size,
    compile_encoders,
    paired_loss,
    total_loss,
    two_views,
)


def train(
    config: TrainConfig,
    clips: Clips,
    val: Clips,
    folder: str | Path,
    resume: bool = False,
    progress: Callable = lambda batches: batches,
    benchmark: Collection[str] = (),
    allow_leaks: bool = False,
    threads: int = 2,
    compiled: bool = False,
    start: str | Path = "",
) -> Iterator[dict]:
    """Train on `clips`, validate on `val`; yields the metrics of every epoch.

    val: of the split `val`, which alone chooses the best epoch. Writes into `folder`: the
    best model on `val` (model.safetensors, model.json), metrics.jsonl, and the last two
    states, from which resume=True goes on; a finished run says so. `progress` wraps an
    epoch's batches (`tqdm`, for instance). benchmark: names of the clips that the model
    will be scored on; training on one of them is refused unless allow_leaks. threads: how
    many read clips ahead, where clips do not fit on the GPU. compiled: by torch.compile.
    start: a model's folder, or an authors' file, whose weights the run begins with
    instead of random ones; Adam, its rate and the curriculum begin anew.

    Under torchrun each process calls this with the same arguments; all yield, and
    only the first writes.

    Raises ValueError where clips are fewer than two, or those of val without boxes, where
    val is not of the split `val`, where clips leak, where a run is resumed with another
    configuration, other clips or another start, where `start` is of another size, or
    where several processes should be compiled; FileNotFoundError where `start` is missing;
    FileExistsError where `folder` holds a run and resume is False; BlockingIOError where
    a run is at work in it; FloatingPointError names the step and the clips at which the
    loss is not finite, or the epoch whose validation finds that the model has diverged;
    RuntimeError those at which a step failed, OSError a file that cannot be written.
    """
    check_clips(clips, val, benchmark, allow_leaks)
    if compiled and parallel.world_size() > 1:
        raise ValueError(
            "torch.compile cannot see through the batch-norm of several "
            "processes: compile where there is one"
        )
    device, folder = parallel.device(), Path(folder)
    owned = run_folder(folder, resume) if parallel.is_main() else nullcontext()
    with owned, Cores() as cores:
        state = TrainState(config, device, start)
        seen = {"training": clips.fingerprint(), "validation": val.fingerprint()}
        if resume:
            load_state(folder, config, seen, state)
        if compiled:
            compile_encoders(state.model)
        # shapes stay the same, so that the fastest kernels are worth finding
        torch.backends.cudnn.benchmark = True
        branches = parallel.data_parallel(Branches(state.model, config.precision))
        feed = Feed(clips, state.model.config.audio, device, threads)
        save = partial(save_state, folder, config, seen, state)
        if parallel.is_main() and len(state.history) == config.epochs:
            print(
                f"{folder}: all {config.epochs} epochs are done, nothing is left to train"
            )

        def shared(batches):  # with fewer threads while others need the cores
            return progress(cores.share(batches))

        yield from train_epochs(config, state, branches, feed, val, save, shared)


def train_epochs(config, state, branches, feed, val, save, progress):
    """The loop itself: trains what `state` holds, epoch by epoch; yields their metrics."""
    for epoch in range(len(state.history), config.epochs):
        strength = strength_at(config, epoch)  # of T_app and T_mask
        generator = torch.Generator(feed.device).manual_seed(epoch_seed(config, epoch))
        batches = shuffled_batches(config, epoch, len(feed))
        steps = len(batches) * config.epochs
        local = [index[parallel.local_slice(len(index))] for index in batches]
        with EpochReport(config, epoch, len(batches), feed) as report:
            alpha, similar = similar_sounds(config, epoch, state.model, feed)  # T_mix
            state.model.train()
            for batch, data in zip(batches, progress(feed.batches(local, similar))):
                index, images, spectrograms, other = data
                report.begin_step(index)
                images = at_model_size(config, images, generator, len(batch))
                if other is not None:
                    spectrograms = augment.mix(spectrograms, other, alpha)  # eq. 4
                views = two_views(
                    config, images, spectrograms, generator, strength, len(batch)
                )  # T_app, T_geo, T_mask: figure 2
                loss, terms = total_loss(branches, config, views)  # eq. 11
                report.add(loss, terms, len(batch))
                rate = learning_rate_at(config, report.step, steps)
                state.update(loss, rate)  # backward, and one step of Adam
                report.end_step()
            metrics = report.means()
            checked = is_checked(config, epoch)
            if parallel.is_main() and checked:
                scores = validate(state.averaged, val, config)
                metrics |= {f"val_{name}": score for name, score in scores.items()}
            state.history.append(metrics | report.seconds())
            if parallel.is_main() and checked:
                save()
        yield state.history[-1]


def is_checked(config: TrainConfig, epoch: int) -> bool:
    """Whether an epoch ends with a validation and a saved state."""
    return (epoch + 1) % config.validate_every == 0 or epoch + 1 == config.epochs


def epoch_seed(config: TrainConfig, epoch: int) -> int:
    """The seed of everything random in an epoch."""
    return config.seed * 100_003 + epoch


def shuffled_batches(config: TrainConfig, epoch: int, count: int) -> list[Tensor]:
    """Indices of every clip, shuffled, in batches for all processes together.

    Every clip once, or `config.passes` times in turn, so that no batch has a clip twice.
    A last batch of one clip, or of fewer than there are processes, joins the batch
    before. (DistributedSampler would repeat or drop clips, and N processes would
    not see the batches of one.)
    """
    generator = torch.Generator().manual_seed(epoch_seed(config, epoch))
    found = []
    for _ in range(config.passes):
        batches = list(torch.randperm(count, generator=generator).split(config.batch))
        if len(batches) > 1 and len(batches[-1]) < max(2, parallel.world_size()):
            batches[-2:] = [torch.cat(batches[-2:])]
        found += batches
    return found


def similar_sounds(config: TrainConfig, epoch: int, model: SoundLocaliser, feed: Feed):
    """α of equation 4 in an epoch, and the index (N,) of each clip's most similar sound,
    of another recording.

    (0, None) where nothing is mixed.
    """
    alpha = 0.0
    if "mix" in config.parts:
        alpha = augment.mixing_weight(epoch, config.epochs, config.mix_alpha)
    if not alpha:
        return 0.0, None
    return alpha, augment.most_similar(embed_sounds(model, feed), feed.originals).cpu()


@torch.no_grad()
def embed_sounds(model: SoundLocaliser, feed: Feed, block: int = 128) -> Tensor:
    """Embeddings (N, C) of all sounds by the current audio encoder, in eval mode."""
    model.eval()
    local = torch.arange(len(feed))[parallel.local_slice(len(feed))]
    parts = [model.embed_audio(feed.sounds(index)) for index in local.split(block)]
    model.train()
    return parallel.gather(torch.cat(parts), len(feed))


@torch.no_grad()
def validate(model: SoundLocaliser, val: Clips, config: TrainConfig) -> dict:
    """Scores of a model on val: of its maps where boxes are known, else the loss.

    FloatingPointError where these are not finite: the model has diverged.
    """
    if all(boxes is not None for boxes in val.boxes):
        maps = localise.respond_to(model, val)
        _refuse_diverged("maps", maps)
        return localise.score(maps, val)
    feed = Feed(val, model.config.audio, next(model.parameters()).device)
    model.eval()
    batches = torch.arange(len(val)).split(config.batch)
    losses = [
        paired_loss(config, model(normalise(model.fit(images)), spectrograms))
        for _, images, spectrograms, _ in feed.batches(batches)
        if len(images) > 1
    ]
    loss = torch.stack(losses).mean()
    _refuse_diverged("losses", loss)
    return {"loss": loss.item()}


def _refuse_diverged(what: str, values: Tensor) -> None:
    if not values.isfinite().all():
        raise FloatingPointError(
            f"the model has diverged: its {what} on val are not finite"
        )
