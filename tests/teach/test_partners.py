"""Partners of T_mix: the fractions of notebook 02's table."""

import pytest
import torch

from sslnb.data.clips import Clips
from sslnb.teach.partners import average_spectra, partners


def make(labels, originals):
    count = len(labels)
    return Clips(
        names=[f"clip{k}" for k in range(count)],
        labels=labels,
        images=torch.zeros(count, 3, 4, 4, dtype=torch.uint8),
        waves=torch.zeros(count, 100, dtype=torch.int16),
        boxes=None,
        masks=None,
        recordings=originals,
    )


def bands(*rows):
    """Spectrograms (N, 1, F, 2) with these values in their bands."""
    return torch.tensor(rows)[:, None, :, None].expand(-1, 1, -1, 2)


def test_average_spectra_are_unit_vectors_about_their_mean():
    sounds = torch.rand(5, 1, 8, 20, generator=torch.Generator().manual_seed(0))
    found = average_spectra(sounds)
    assert found.shape == (5, 8) and torch.allclose(found.norm(dim=1), torch.ones(5))
    # louder all over, and so by the same amount in every clip: nothing changes
    assert torch.allclose(average_spectra(sounds + 0.3), found, atol=1e-5)


def test_fractions_of_echoes_and_of_partners_of_the_class():
    """Two excerpts of a dog, another dog between, a cow far away."""
    sounds = bands([1.0, 0.0], [0.9, 0.0], [0.6, 0.3], [0.0, 1.0])
    clips = make(["dog", "dog", "dog", "cow"], ["d1", "d1", "d2", "c1"])
    found = partners(sounds, clips)
    assert found["any other clip: an echo"] == 0.5  # of the first two
    assert found["another recording: same class"] == 0.75  # a cow has no other
    assert found["at best"] == 0.75
    # of ten ordered pairs of different recordings, four are of two dogs
    assert found["by chance"] == pytest.approx(4 / 10)
