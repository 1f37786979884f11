"""Which sounds T_mix mixes: average spectra, and how good partners are (notebook 02)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from sslnb import augment
from sslnb.data.clips import Clips


def average_spectra(sounds: Tensor) -> Tensor:
    """Spectrograms (N, 1, F, T) -> mean of each band over time (N, F).

    Less the mean of all clips and of length 1, so that a product is a cosine.
    """
    spectra = sounds.mean(3).flatten(1)
    return F.normalize(spectra - spectra.mean(0))


def partners(sounds: Tensor, clips: Clips) -> dict[str, float]:
    """How often the clip with the most similar average spectrum is a good partner.

    sounds (N, 1, F, T), the spectrograms of N clips. Returns fractions of the clips:
    for which the most similar other clip is of the same recording (an echo); for which
    the most similar one of another recording is of the same class; for which any of
    another recording would be, on average; whose class has another recording.
    """
    spectra, rows = average_spectra(sounds), torch.arange(len(clips))
    same, alike = (
        torch.tensor([[a == b for b in names] for a in names])  # (N, N)
        for names in (clips.originals, clips.labels)
    )
    right = alike & ~same
    found = {
        "any other clip: an echo": same[rows, augment.most_similar(spectra)],
        "another recording: same class": right[
            rows, augment.most_similar(spectra, clips.originals)
        ],
        "by chance": right[~same],
        "at best": right.any(1),
    }
    return {name: values.float().mean().item() for name, values in found.items()}
