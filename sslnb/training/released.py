"""Two views and L_geo as the released code has them (notebook 08).

    TrainConfig(views="release")

Both branches see the same crop, of other proportions than the image, the same flip and
the same T_app (`augment`'s, whose steps have a fixed order). Branch 2's image is branch
1's, warped: by one scale and one flip for the whole batch, and by a whole angle for each
clip. Where the scale is 0.5, that image is then resized to half its size, too, so that
its content covers a sixteenth of what it did. Out-of-frame cells count in L_geo. One coin decides
for both masks of the sound, and both branches hear the same.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from sslnb import augment
from sslnb.data.media import normalise

CROP = (0.3, 1.0)  # area of the crop of branch 1
RATIO = (3 / 4, 4 / 3)  # of its width to its height
TRIES = 10  # for a crop that fits into the image, before the whole is taken
ROTATION, SCALE = 30, 0.5  # degrees, and by which the content shrinks
P = 0.5  # of the scale, and of a flip
MASK_P = 0.8  # of both masks


def views(
    images: Tensor,
    spectrograms: Tensor,
    silence: float,
    generator: Generator,
    batch: int,
    local: Callable,
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor], Tensor]:
    """Images of both branches, the sound that both hear, and theta between the images.

    images (b, 3, S, S) in [0, 1]; spectrograms (b, 1, F, T); silence: what masks. The
    images come normalised, (b, 3, S, S) and (b, 3, S, S) or (b, 3, S/2, S/2); theta is
    (b, 2, 3). `local` takes this process's b clips of what is drawn for all of `batch`.
    """
    size = images.shape[-1]
    images = augment.warp(images, local(_draw_crops(batch, generator), batch))
    look = augment.Appearance.for_size(size).draw(batch, generator)
    view_1 = normalise(augment.apply_appearance(images, local(look, batch)))

    small, theta = _draw(batch, generator)
    theta = local(theta, batch)
    view_2 = augment.warp(view_1, theta)
    if small:  # the scale of 0.5, once more
        view_2 = F.interpolate(view_2, (size // 2, size // 2), mode="bilinear")

    mask = augment.Mask(time_p=1.0, frequency_p=1.0).draw(batch, generator)
    coin = _uniform(generator, batch) < MASK_P
    for ends in mask.values():
        ends[~coin] = 0.0  # an empty interval
    heard = augment.apply_mask(spectrograms, local(mask, batch), silence)
    return (view_1, view_2), (heard,), theta


def _uniform(generator, *shape):
    return torch.rand(shape, generator=generator, device=generator.device)


def _draw_crops(batch, generator):
    """theta (batch, 2, 3) of crops and flips, as torchvision's RandomResizedCrop and
    RandomHorizontalFlip draw them."""
    area = CROP[0] + (CROP[1] - CROP[0]) * _uniform(generator, TRIES, batch)
    low, high = math.log(RATIO[0]), math.log(RATIO[1])
    ratio = (low + (high - low) * _uniform(generator, TRIES, batch)).exp()
    sides = torch.stack([area * ratio, area / ratio], 2).sqrt()  # (TRIES, batch, 2)
    fits = (sides <= 1).all(2)
    first = fits.int().argmax(0)
    side = sides[first, torch.arange(batch, device=first.device)]
    side = torch.where(fits.any(0)[:, None], side, 1.0)  # (batch, 2): width and height
    shift = (2 * _uniform(generator, batch, 2) - 1) * (1 - side)
    flip = torch.where(_uniform(generator, batch) < P, -1.0, 1.0)
    scale = torch.diag_embed(torch.stack([side[:, 0] * flip, side[:, 1]], 1))
    return torch.cat([scale, shift[:, :, None]], 2)


def _draw(batch, generator):
    """Whether the content shrinks, and theta (batch, 2, 3)."""
    small, flipped = (_uniform(generator, 2) < P).tolist()
    angle = (_uniform(generator, batch) * (2 * ROTATION + 1)).floor() - ROTATION
    theta = augment.affine(
        torch.full_like(angle, 1 / SCALE if small else 1.0),
        torch.zeros(batch, 2, device=angle.device),
        angle * math.pi / 180,
        torch.full_like(angle, -1.0 if flipped else 1.0),
    )
    return small, theta


def equivariance_loss(
    response_1: Tensor, response_2: Tensor, theta: Tensor, size: int
) -> Tensor:
    """Mean squared difference of the maps of both branches, every cell counted: eq. 10.

    response_1 (b, h, w) becomes size × size pixels, is warped by theta (b, 2, 3), and
    then as small as response_2 (b, h', w'), which may have other cells.
    """
    large = F.interpolate(response_1.float()[:, None], (size, size), mode="bilinear")
    warped = augment.warp(large, theta)
    cells = tuple(response_2.shape[1:])
    expected = F.interpolate(warped, cells, mode="bilinear")[:, 0]
    return F.mse_loss(response_2.float(), expected)
