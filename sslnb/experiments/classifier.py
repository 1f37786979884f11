"""The baseline of table 5 with labels: an audio encoder that learns to name classes.

The paper's VGG-H (section 4.3.3) on our clips: the same encoder, clips, T_mask, steps
and learning rate as the model's that it is compared with, and the cross-entropy of a
linear layer on its embedding in place of the losses.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslnb.data.clips import Clips
from sslnb.model import SoundLocaliser
from sslnb.training.feed import Feed
from sslnb.training.loop import epoch_seed, shuffled_batches
from sslnb.training.recipe import TrainConfig, learning_rate_at
from sslnb.training.state import network
from sslnb.training.step import masked_spectrograms

SCALE = 16.0  # of the cosines with the classes: embeddings are unit vectors


def train_classifier(
    config: TrainConfig,
    clips: Clips,
    folder: str | Path,
    progress: Callable = lambda epochs: epochs,
) -> list[dict[str, float]]:
    """Train the audio encoder of a fresh model on the labels of clips, and save it.

    Returns the metrics of every epoch: "epoch", "loss", "accuracy" on the clips that it
    trains on, and "seconds". The image encoder stays as it begins. `progress` wraps the epochs.
    ValueError where a label is not known.
    """
    if None in clips.labels:
        raise ValueError(f"the label of clip {clips.labels.index(None)} is not known")
    torch.manual_seed(config.seed)
    model = SoundLocaliser(network(config))
    names = sorted(set(map(str, clips.labels)))
    labels = torch.tensor([names.index(str(label)) for label in clips.labels])
    classes = nn.utils.parametrizations.weight_norm(
        nn.Linear(8 * model.config.width, len(names), bias=False)
    )
    parameters = [*model.audio_encoder.parameters(), *classes.parameters()]
    optimizer = torch.optim.Adam(
        parameters, weight_decay=config.weight_decay, fused=True
    )
    config = replace(config, model="D")  # T_mask, and nothing is mixed
    feed = Feed(clips, model.config.audio, torch.device("cpu"))
    history = []
    for epoch in progress(range(config.epochs)):
        generator = torch.Generator().manual_seed(epoch_seed(config, epoch))
        batches = shuffled_batches(config, epoch, len(clips))
        loss, right, started = torch.zeros(()), 0, time.perf_counter()
        for step, index in enumerate(batches, epoch * len(batches)):
            sounds = masked_spectrograms(config, feed.sounds(index), generator)[0]
            logits = SCALE * classes(_embed(model, config, sounds))
            error = F.cross_entropy(logits, labels[index])
            for group in optimizer.param_groups:
                group["lr"] = learning_rate_at(
                    config, step, len(batches) * config.epochs
                )
            optimizer.zero_grad()
            error.backward()
            optimizer.step()
            loss += error.detach() * len(index)
            right += int((logits.argmax(1) == labels[index]).sum())
        seen = len(clips) * config.passes
        history.append(
            {
                "epoch": epoch + 1,
                "loss": loss.item() / seen,
                "accuracy": right / seen,
                "seconds": time.perf_counter() - started,
            }
        )
    model.save(folder)
    return history


def _embed(model: SoundLocaliser, config: TrainConfig, sounds: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16, config.precision == "bf16"):
        return model.embed_audio(sounds)
