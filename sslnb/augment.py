"""Transformations: drawn once as data, then applied (notebook 02; section 3.2).

Every transform has `draw(batch, generator)`, which returns its random numbers as
tensors, one for every sample, and an `apply`-like function that uses them. So the
same draw can move an image and its response map, and can be shown.

    >>> geometric = Geometric()
    >>> theta = geometric.draw(32, generator)        # (32, 2, 3)
    >>> images_2 = warp(images, theta)               # (32, 3, 224, 224)
    >>> maps_2 = warp(maps, theta)                   # (32, 14, 14)
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

GREY = (0.299, 0.587, 0.114)  # ITU-R 601 luma


def _uniform(batch, low, high, generator):
    return low + (high - low) * torch.rand(
        batch, generator=generator, device=generator.device
    )


def _coin(batch, p, generator):
    return torch.rand(batch, generator=generator, device=generator.device) < p


# --- T_app: how things look -------------------------------------------------


@dataclass(frozen=True)
class Appearance:
    """T_app: colour jitter, greyscale and blur (appendix A.1).

    `jitter` is the strength of brightness, contrast, saturation and hue;
    `sigma` the range of the blur's standard deviation, in pixels.
    """

    jitter: tuple = (0.4, 0.4, 0.4, 0.1)
    jitter_p: float = 0.8
    grey_p: float = 0.2
    sigma: tuple = (0.1, 2.0)
    blur_p: float = 0.5

    def draw(self, batch, generator):
        """Dict of (batch,) tensors: factors (1 or 0: unchanged), grey, sigma."""
        on = _coin(batch, self.jitter_p, generator)
        names = ("brightness", "contrast", "saturation")
        draw = {
            name: torch.where(on, _uniform(batch, 1 - s, 1 + s, generator), 1.0)
            for name, s in zip(names, self.jitter)
        }
        hue = _uniform(batch, -self.jitter[3], self.jitter[3], generator)
        draw["hue"] = torch.where(on, hue, 0.0)  # in turns of the colour circle
        draw["grey"] = _coin(batch, self.grey_p, generator)
        sigma = _uniform(batch, *self.sigma, generator)
        draw["sigma"] = torch.where(_coin(batch, self.blur_p, generator), sigma, 0.0)
        return draw


def apply_appearance(images, draw):
    """Images (B, 3, H, W) in [0, 1], each with its own draw, in [0, 1]."""
    if not images.is_floating_point():
        raise ValueError(f"images are {images.dtype}; need floats in [0, 1]: divide by 255")
    column = {name: value.view(-1, 1, 1, 1) for name, value in draw.items()}
    images = (images * column["brightness"]).clamp(0, 1)
    mean = grey(images).mean((1, 2, 3), keepdim=True)
    images = torch.lerp(mean, images, column["contrast"]).clamp(0, 1)
    images = torch.lerp(grey(images), images, column["saturation"]).clamp(0, 1)
    turned = draw["hue"] != 0
    if turned.any():
        images = images.clone()
        images[turned] = rotate_hue(images[turned], draw["hue"][turned])
    images = torch.where(column["grey"], grey(images), images)
    return blur(images, draw["sigma"])


def grey(images):
    """Luma (B, 1, H, W) of (B, 3, H, W)."""
    weights = torch.tensor(GREY, device=images.device, dtype=images.dtype)
    return torch.einsum("bchw,c->bhw", images, weights)[:, None]


def rotate_hue(images, turns):
    """Turn every colour's hue by `turns` (B,) of the circle; HSV is kept otherwise."""
    high, low = images.amax(1, keepdim=True), images.amin(1, keepdim=True)
    chroma = high - low
    r, g, b = images.split(1, 1)
    safe = chroma.clamp(min=1e-12)
    hue = torch.where(
        high == r, (g - b) / safe,
        torch.where(high == g, 2 + (b - r) / safe, 4 + (r - g) / safe),
    )  # in sixths of the circle, from red
    hue = hue + 6 * turns.view(-1, 1, 1, 1)
    # the channel at n sixths: max − chroma · clamp(min(k, 4 − k), 0, 1), k = n + hue
    n = torch.tensor([5.0, 3.0, 1.0], device=images.device).view(1, 3, 1, 1)
    k = (n + hue) % 6
    return high - chroma * torch.minimum(k, 4 - k).clamp(0, 1)


def blur(images, sigma):
    """Gaussian blur of (B, C, H, W), each with its own sigma (B,) in pixels; 0: none."""
    chosen = sigma > 0
    if not chosen.any():
        return images
    some = images[chosen]
    batch, channels, height, width = some.shape
    radius = math.ceil(3 * sigma.max().item())
    radius = min(radius, height - 1, width - 1)
    x = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    spread = sigma[chosen, None]
    far = x.abs() > (3 * spread).ceil()  # each is cut at its own 3 σ, whoever is beside it
    kernel = (-0.5 * (x / spread).square()).masked_fill(far, -torch.inf).softmax(1)
    kernel = kernel.to(images.dtype).repeat_interleave(channels, 0)[:, None]  # (BC, 1, k)
    flat = some.reshape(1, batch * channels, height, width)
    flat = F.pad(flat, [radius] * 4, mode="reflect")
    flat = F.conv2d(flat, kernel[..., None], groups=batch * channels)
    flat = F.conv2d(flat, kernel[..., None, :], groups=batch * channels)
    blurred = images.clone()
    blurred[chosen] = flat.view_as(some)
    return blurred


# --- T_geo: where things are ------------------------------------------------


@dataclass(frozen=True)
class Geometric:
    """T_geo: crop and resize, shrink, rotate, flip (appendix A.1).

    `crop` is the range of the crop's share of the area; with `scale_p` the
    content shrinks to `scale`; `rotation` is the largest angle in degrees.
    """

    crop: tuple = (0.3, 1.0)
    scale: float = 0.5
    scale_p: float = 0.5
    rotation: float = 30.0
    flip_p: float = 0.5

    def draw(self, batch, generator):
        """theta (batch, 2, 3): output to input, in affine_grid's coordinates.

        A cell at p of the output shows the input at side · R(angle) · flip · p +
        shift, coordinates running from −1 to 1 over the frame.
        """
        side = _uniform(batch, *self.crop, generator).sqrt()
        shift = torch.stack([_uniform(batch, -1, 1, generator) for _ in "xy"], 1)
        shift = shift * (1 - side)[:, None]  # the crop stays in the frame
        shrunk = _coin(batch, self.scale_p, generator)
        side = torch.where(shrunk, side / self.scale, side)
        bound = math.radians(self.rotation)
        angle = _uniform(batch, -bound, bound, generator)
        flip = torch.where(_coin(batch, self.flip_p, generator), -1.0, 1.0)
        return affine(side, shift, angle, flip)


def affine(side, shift, angle, flip):
    """theta (B, 2, 3) from side (B,), shift (B, 2), angle (B,) in radians, flip ±1 (B,)."""
    cos, sin = side * angle.cos(), side * angle.sin()
    return torch.stack(
        [
            torch.stack([cos * flip, -sin, shift[:, 0]], 1),
            torch.stack([sin * flip, cos, shift[:, 1]], 1),
        ],
        1,
    )


def warp(x, theta):
    """Move images (B, C, H, W) or maps (B, h, w) by theta (B, 2, 3); zeros outside.

    theta is output-to-input in `affine_grid`'s normalised coordinates with
    align_corners=False, so that one theta moves an image of any size and its
    response map alike. Bilinear. ValueError where the shapes do not fit.
    """
    if x.ndim not in (3, 4):
        raise ValueError(f"x has shape {tuple(x.shape)}; need (B, C, H, W) or (B, h, w)")
    if theta.shape != (len(x), 2, 3):
        raise ValueError(
            f"theta has shape {tuple(theta.shape)}; need {(len(x), 2, 3)}, "
            "one matrix for every sample"
        )
    if not x.is_floating_point():
        raise ValueError(f"x is {x.dtype}; need floats, to be interpolated: x.float()")
    images = x if x.ndim == 4 else x[:, None]
    grid = F.affine_grid(theta.to(x.dtype), images.shape, align_corners=False)
    moved = F.grid_sample(images, grid, align_corners=False)
    return moved if x.ndim == 4 else moved[:, 0]


def draw_crops(batch, larger, size, generator):
    """Upper left corners (batch, 2), in pixels, of cuts of `size` in pictures of `larger`.

    ValueError where the pictures are smaller than the cut.
    """
    if larger < size:
        raise ValueError(f"pictures have {larger} pixels a side; the model needs {size}")
    corners = _uniform(2 * batch, 0, larger - size + 1, generator).long()
    return corners.clamp(max=larger - size).view(batch, 2)


def crop(images, corners, size):
    """Cuts (B, C, size, size) of images (B, C, H, W), each at its own corner."""
    if images.shape[2:] == (size, size):
        return images
    span = torch.arange(size, device=images.device)
    rows, columns = (corners[:, k, None] + span for k in (0, 1))  # (B, size)
    sample = torch.arange(len(images), device=images.device)[:, None, None]
    cut = images.permute(0, 2, 3, 1)[sample, rows[:, :, None], columns[:, None]]
    return cut.permute(0, 3, 1, 2)


# --- T_mask and T_mix: what is heard ----------------------------------------


@dataclass(frozen=True)
class Mask:
    """T_mask: one band of time and one of frequency, silenced (section 3.2.1).

    Widths are drawn up to a share of the axis: 180 of 670 frames, 35 of 257
    bands in the released code.
    """

    time: float = 180 / 670
    time_p: float = 0.8
    frequency: float = 35 / 257
    frequency_p: float = 0.8

    def draw(self, batch, generator):
        """Dict of (batch, 2): start and end, in shares of the axis; equal: no mask."""
        draw = {}
        for axis, widest, p in (
            ("time", self.time, self.time_p),
            ("frequency", self.frequency, self.frequency_p),
        ):
            width = _uniform(batch, 0, widest, generator)
            width = torch.where(_coin(batch, p, generator), width, 0.0)
            start = _uniform(batch, 0, 1, generator) * (1 - width)
            draw[axis] = torch.stack([start, start + width], 1)
        return draw


def apply_mask(spectrograms, draw, fill=0.0):
    """Spectrograms (B, 1, F, T), each with its own bands set to `fill`.

    `fill` is what silence reads: `AudioConfig.silence`.
    """
    masked = torch.zeros_like(spectrograms, dtype=torch.bool)
    for axis, dim in (("frequency", 2), ("time", 3)):
        size = spectrograms.shape[dim]
        index = torch.arange(size, device=spectrograms.device)
        start, end = (draw[axis] * size).round().split(1, 1)  # (B, 1) each
        inside = (index >= start) & (index < end)  # (B, size)
        masked |= inside[:, None, :, None] if dim == 2 else inside[:, None, None, :]
    return spectrograms.masked_fill(masked, fill)


def mixing_weight(epoch, epochs, largest=0.65):
    """α of eq. 4: 0 in the first epoch, rising linearly to `largest` in the last."""
    return largest * epoch / max(epochs - 1, 1)


def most_similar(embeddings, block=1024):
    """Index (N,) of every clip's most similar *other* clip.

    embeddings (N, C), unit vectors. Computed a block of rows at a time.
    """
    if len(embeddings) < 2:
        raise ValueError("one clip has no other to be mixed with; need at least two")
    found = []
    for start in range(0, len(embeddings), block):
        rows = embeddings[start : start + block] @ embeddings.T
        index = torch.arange(len(rows), device=rows.device)
        rows[index, start + index] = -torch.inf
        found.append(rows.argmax(1))
    return torch.cat(found)


def mix(waves, similar, alpha):
    """A_mix = (1 − α) A + α A_sim, spectrograms or waves of one shape: eq. 4."""
    return torch.lerp(waves, similar, alpha)
