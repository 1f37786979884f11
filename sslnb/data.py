"""Clips as tensors: what training reads and evaluation scores (notebook 01).

    >>> clips = load_scenes("test", 200, image_size=96)
    >>> clips.images.shape, clips.waves.shape
    (torch.Size([200, 3, 96, 96]), torch.Size([200, 48000]))
"""

from dataclasses import dataclass

import numpy as np
import torch

from sslnb import soundstamps
from sslnb.media import fit_length


@dataclass(frozen=True)
class Clips:
    """N pictures with their sounds and the truth.

    names, labels: N strings each; images (N, 3, S, S) uint8; waves (N, T) int16;
    boxes: for each clip its boxes, normalised (x0, y0, x1, y1); masks (N, 224, 224)
    bool: the visible pixels of what sounds.
    """

    names: list
    labels: list
    images: torch.Tensor
    waves: torch.Tensor
    boxes: list
    masks: torch.Tensor

    def __len__(self):
        return len(self.names)


def load_scenes(split, count=None, image_size=96, samples=48_000, seed=0,
                progress=lambda scenes: scenes):
    """`count` SoundStamps scenes of a split (all of `wild` by default) as Clips.

    `samples` other than 48,000 tiles or cuts each wave; `progress` wraps the
    iterator of scenes (`tqdm`, for one).
    """
    end = soundstamps.length(split)
    if count is None and end is None:
        raise ValueError(f"{split} has no end: say how many scenes")
    if count is not None and count < 1:
        raise ValueError(f"count is {count}; need 1 or more scenes")
    scenes = soundstamps.compose_many(
        split, seed, count if count is not None else end, image_size, progress=progress
    )
    waves = torch.from_numpy(np.stack([scene.wave for scene in scenes]))
    return Clips(
        names=[f"{split}/{seed}/{index}" for index in range(len(scenes))],
        labels=[scene.class_name for scene in scenes],
        images=torch.from_numpy(
            np.stack([scene.image for scene in scenes])
        ).permute(0, 3, 1, 2).contiguous(),
        waves=fit_length(waves, samples),
        boxes=[scene.boxes for scene in scenes],
        masks=torch.from_numpy(np.stack([scene.mask for scene in scenes])),
    )
