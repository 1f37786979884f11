"""How invariant and how equivariant a model is (notebooks 03 and 04; section 3.3).

    >>> invariance(model, clips).error                   # e_app, under T_app
    0.15
    >>> changes = equivariance(model, clips)             # S(T(I)) against T(S(I)), eq. 9
    >>> {name: change.error for name, change in changes.items()}
    {"rotation 10°": 0.06, …, "flip": 0.09, "scale 0.5": 0.35, …, "T_geo": 0.34}
    >>> mean_scores({"e_app": change.squares}, groups=clips.groups, over=change.variance)

Errors are squared differences of response maps over the maps' own spatial variance, so
that models whose cosines differ more or less can be compared: 0 is perfect, and 2 is
what maps of other images would give that have the same mean and nothing in common.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from sslnb import augment
from sslnb.data.clips import Clips
from sslnb.data.media import fit_length, normalise, spectrogram
from sslnb.model import SoundLocaliser, evaluating

ANGLES = (10, 20, 30, 60, 90, 180)  # degrees; T_geo's are up to 30
SCALES = (0.5, 1.5)  # half as large, as T_geo shrinks, and a crop of 4/9 of the area

# drawn for N clips: T_app, as apply_appearance takes it, or theta (N, 2, 3)
Drawn = dict[str, Tensor] | Tensor


@dataclass(frozen=True)
class Change:
    """How the maps of N clips change, clip by clip: tensors (N,), float64, on the CPU.

    squares: mean over the cells of the squared difference from what the map should be.
    variance: of the map of the image as it is, over its cells. foreground: 1 − IoU of
    the foregrounds before and after, in [0, 1]; the foreground of a map are its cells
    above the median, half of them whatever the model, and 2/3 is chance.
    """

    squares: Tensor
    variance: Tensor
    foreground: Tensor

    @property
    def error(self) -> float:
        """Mean of squares over mean of variances; NaN where every map is constant."""
        return (self.squares.mean() / self.variance.mean()).item()


def invariance(
    model: SoundLocaliser, clips: Clips, seed: int = 0, draws: int = 4, batch: int = 64
) -> Change:
    """How much the maps of clips change under T_app, averaged over `draws` of it.

    T_app is drawn as in training, at its full strength (appendix A.1). The error is
    e_app. ValueError where there are no clips or no draws.
    """
    if draws < 1:
        raise ValueError(f"draws is {draws}; need 1 or more")
    generator = Generator().manual_seed(seed)
    look = augment.Appearance.for_size(model.config.image_size)
    drawn = {str(k): look.draw(len(clips), generator) for k in range(draws)}
    changes = list(_measure(model, clips, drawn, batch).values())
    return Change(
        torch.stack([change.squares for change in changes]).mean(0),
        changes[0].variance,
        torch.stack([change.foreground for change in changes]).mean(0),
    )


def equivariance(
    model: SoundLocaliser,
    clips: Clips,
    transforms: Mapping[str, Tensor] | None = None,
    seed: int = 0,
    batch: int = 64,
) -> dict[str, Change]:
    """How far S(T(I)) is from T(S(I)), for each transform T: eq. 9; errors are e_geo.

    transforms: name -> theta (1, 2, 3), or (N, 2, 3) with one for each clip, as
    `augment.warp` takes it; None: `fixed_transforms()`, and "T_geo", drawn for each
    clip as in training. Images are transformed after normalisation, as in training, and
    only cells count that show nothing from out of frame, as in eq. 10's loss.

    ValueError where there are no clips, for a theta of another shape, and for one that
    leaves a clip without a cell.
    """
    count = len(clips)
    if transforms is None:
        transforms = fixed_transforms() | {"T_geo": drawn_geometric(count, seed)}
    for name, theta in transforms.items():
        if theta.shape not in ((1, 2, 3), (count, 2, 3)):
            raise ValueError(
                f"{name}: theta has shape {tuple(theta.shape)}; need (1, 2, 3) or "
                f"{(count, 2, 3)}"
            )
    each = {name: theta.expand(count, 2, 3) for name, theta in transforms.items()}
    return _measure(model, clips, each, batch)


def drawn_geometric(count: int, seed: int = 0) -> Tensor:
    """theta (count, 2, 3) of T_geo, drawn for each clip as in training (appendix A.1)."""
    return augment.Geometric().draw(count, Generator().manual_seed(seed))


def fixed_transforms(
    angles: tuple[float, ...] = ANGLES, scales: tuple[float, ...] = SCALES
) -> dict[str, Tensor]:
    """Name -> theta (1, 2, 3): rotations by degrees, the horizontal flip, and scales.

    A scale above 1 shows the middle of the image larger, one below 1 all of it smaller.
    """
    theta = augment.fixed_affine
    return {
        **{f"rotation {angle:g}°": theta(degrees=angle) for angle in angles},
        "flip": theta(flip=-1.0),
        **{f"scale {scale:g}": theta(side=1 / scale) for scale in scales},
    }


def _measure(
    model: SoundLocaliser, clips: Clips, drawn: Mapping[str, Drawn], batch: int
) -> dict[str, Change]:
    """The Change of the maps of clips under each of several transforms."""
    if not len(clips):
        raise ValueError("there are no clips to measure on")
    found: dict[str, list[Tensor]] = {name: [] for name in drawn}
    with evaluating(model):
        for start in range(0, len(clips), batch):
            rows = slice(start, start + batch)
            images, sounds = _inputs(model, clips.part(rows))
            response = _respond(model, normalise(images), sounds)  # (B, h, w)
            variance = response.double().var((1, 2), correction=0)
            for name, draw in drawn.items():
                inputs, expected, inside = _apply(draw, rows, images, response)
                if not inside.any((1, 2)).all():
                    raise ValueError(f"{name} leaves a clip no cell in the frame")
                after = _respond(model, inputs, sounds)
                squares, foreground = _compare(expected, after, inside)
                found[name].append(torch.stack([squares, variance, foreground]).cpu())
    return {name: Change(*torch.cat(parts, 1)) for name, parts in found.items()}


def _apply(
    draw: Drawn, rows: slice, images: Tensor, response: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """T(I) as the model takes it, the map that it should have, and its cells that count."""
    if isinstance(draw, dict):  # T_app: the map should stay
        own = {name: value[rows].to(images.device) for name, value in draw.items()}
        inside = torch.ones_like(response, dtype=torch.bool)
        return normalise(augment.apply_appearance(images, own)), response, inside
    theta = draw[rows].to(images.device)
    inside = augment.in_frame(theta, *response.shape[1:])
    return augment.warp(normalise(images), theta), augment.warp(response, theta), inside


def _compare(one: Tensor, two: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """Mean squared difference, and 1 − IoU of foregrounds, (B,), of maps (B, h, w)."""
    squares = (one - two).double().square() * inside
    a, b = foreground(one, inside), foreground(two, inside)
    union = (a | b).sum((1, 2))
    changed = (a ^ b).sum((1, 2)) / union.clamp(min=1)  # (∪ − ∩) / ∪
    return squares.sum((1, 2)) / inside.sum((1, 2)), changed.double()


def foreground(maps: Tensor, inside: Tensor) -> Tensor:
    """Cells (B, h, w) of bool above the median of each map's cells that are `inside`."""
    known = maps.masked_fill(~inside, torch.nan)
    return known > known.flatten(1).nanmedian(1).values[:, None, None]


def _inputs(model: SoundLocaliser, clips: Clips) -> tuple[Tensor, Tensor]:
    """Images (B, 3, S, S) in [0, 1] and unit vectors of sounds (B, C), of some clips."""
    device, audio = next(model.parameters()).device, model.config.audio
    waves = fit_length(clips.waves.to(device), audio.samples)
    sounds = model.embed_audio(spectrogram(waves, audio))
    return model.fit(clips.images.to(device)), sounds


def _respond(model: SoundLocaliser, inputs: Tensor, sounds: Tensor) -> Tensor:
    """Maps (B, h, w) of normalised images, each with its own sound: eq. 3."""
    return torch.einsum("bchw,bc->bhw", model.embed_image(inputs), sounds)
