"""Transforms, drawn once as data and then applied (notebook 02; section 3.2).

The `draw(batch, generator)` of a transform returns its random numbers, as tensors with
one value per sample; a function applies them. So an image and its response map can
take the same draw, and a figure can show it.

    >>> geometric = Geometric()
    >>> theta = geometric.draw(32, generator)        # (32, 2, 3)
    >>> images_2 = warp(images, theta)               # (32, 3, 224, 224)
    >>> maps_2 = warp(maps, theta)                   # (32, 14, 14)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

GREY = (0.299, 0.587, 0.114)  # ITU-R 601 luma


def _uniform(batch: int, low: float, high: float, generator: Generator) -> Tensor:
    return low + (high - low) * torch.rand(
        batch, generator=generator, device=generator.device
    )


def _coin(batch: int, p: float, generator: Generator) -> Tensor:
    return torch.rand(batch, generator=generator, device=generator.device) < p


# --- T_app: appearance of the image ----------------------------------------


@dataclass(frozen=True)
class Appearance:
    """T_app: colour jitter, greyscale and blur (appendix A.1).

    `jitter` is how far brightness, contrast, saturation and hue may change; `sigma`
    the range of the blur's standard deviation, in pixels. `…_p` are probabilities.
    """

    jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.4, 0.1)
    jitter_p: float = 0.8
    grey_p: float = 0.2
    sigma: tuple[float, float] = (0.1, 2.0)
    blur_p: float = 0.5

    @classmethod
    def for_size(cls, pixels: int) -> "Appearance":
        """T_app of images of `pixels` a side: appendix A.1 means a blur of 224 pixels."""
        low, high = cls.sigma
        return cls(sigma=(low * pixels / 224, high * pixels / 224))

    def draw(self, batch: int, generator: Generator) -> dict[str, Tensor]:
        """Tensors (batch,) by name, as `apply_appearance` takes them.

        brightness, contrast and saturation are factors (1: unchanged), hue is a
        fraction of the colour circle (0: unchanged), grey a bool, sigma in pixels
        (0: no blur).
        """
        on = _coin(batch, self.jitter_p, generator)
        names = ("brightness", "contrast", "saturation")
        draw = {
            name: torch.where(on, _uniform(batch, 1 - s, 1 + s, generator), 1.0)
            for name, s in zip(names, self.jitter)
        }
        hue = _uniform(batch, -self.jitter[3], self.jitter[3], generator)
        draw["hue"] = torch.where(on, hue, 0.0)
        draw["grey"] = _coin(batch, self.grey_p, generator)
        sigma = _uniform(batch, *self.sigma, generator)
        draw["sigma"] = torch.where(_coin(batch, self.blur_p, generator), sigma, 0.0)
        return draw


def apply_appearance(images: Tensor, draw: dict[str, Tensor]) -> Tensor:
    """T_app of images (B, 3, H, W) in [0, 1], each by its own draw; in [0, 1] again.

    They come back as float32. The order is brightness, contrast, saturation, hue,
    greyscale, blur.
    """
    if not images.is_floating_point():
        raise ValueError(
            f"images are {images.dtype}; need floats in [0, 1]: divide by 255"
        )
    images = images.float()
    column = {name: value.view(-1, 1, 1, 1) for name, value in draw.items()}
    images = (images * column["brightness"]).clamp(0, 1)
    mean = grey(images).mean((1, 2, 3), keepdim=True)
    images = torch.lerp(mean, images, column["contrast"]).clamp(0, 1)
    images = torch.lerp(grey(images), images, column["saturation"]).clamp(0, 1)
    changed = draw["hue"] != 0
    if changed.any():
        images = images.clone()
        images[changed] = rotate_hue(images[changed], draw["hue"][changed])
    images = torch.where(column["grey"], grey(images), images)
    return blur(images, draw["sigma"])


def grey(images: Tensor) -> Tensor:
    """Luma (B, 1, H, W) of images (B, 3, H, W)."""
    weights = torch.tensor([GREY], device=images.device, dtype=images.dtype)  # (1, 3)
    return (weights @ images.flatten(2)).unflatten(2, images.shape[2:])


def rotate_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Images (B, 3, H, W) with their hue rotated by `turns` (B,) full circles.

    Saturation and value, the S and V of HSV, stay.
    """
    high, low = images.amax(1, keepdim=True), images.amin(1, keepdim=True)
    chroma = high - low
    r, g, b = images.split(1, 1)
    safe = chroma.clamp(min=1e-12)
    hue = torch.where(
        high == r,
        (g - b) / safe,
        torch.where(high == g, 2 + (b - r) / safe, 4 + (r - g) / safe),
    )  # in sixths of the circle, from red
    hue = hue + 6 * turns.view(-1, 1, 1, 1)
    # the channel at n sixths: max − chroma · clamp(min(k, 4 − k), 0, 1), k = n + hue
    n = torch.tensor([5.0, 3.0, 1.0], device=images.device).view(1, 3, 1, 1)
    k = (n + hue) % 6
    return high - chroma * torch.minimum(k, 4 - k).clamp(0, 1)


def blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur of images (B, C, H, W), each by its own sigma (B,) in pixels.

    An image of sigma 0 stays as it is.
    """
    chosen = sigma > 0
    if not chosen.any():
        return images
    sharp = images[chosen]
    batch, channels, height, width = sharp.shape
    radius = math.ceil(3 * sigma.max().item())
    radius = min(radius, height - 1, width - 1)
    x = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    spread = sigma[chosen, None]
    # each ends at its own 3 σ, so that no image depends on the rest of its batch
    far = x.abs() > (3 * spread).ceil()
    kernel = (-0.5 * (x / spread).square()).masked_fill(far, -torch.inf).softmax(1)
    kernel = kernel.to(images.dtype).repeat_interleave(channels, 0)  # (BC, k)
    flat = sharp.reshape(1, batch * channels, height, width)
    flat = F.pad(flat, [radius] * 4, mode="reflect")
    flat = F.conv2d(flat, kernel[:, None, :, None], groups=batch * channels)
    flat = F.conv2d(flat, kernel[:, None, None, :], groups=batch * channels)
    blurred = images.clone()
    blurred[chosen] = flat.view_as(sharp)
    return blurred


# --- T_geo: geometry of the image ------------------------------------------


@dataclass(frozen=True)
class Geometric:
    """T_geo: crop and resize, shrink, rotate, flip (appendix A.1).

    `crop` is the range of the crop's area, as a fraction of the image; with
    probability `scale_p` the content shrinks to `scale`; `rotation` is the largest
    angle, in degrees.
    """

    crop: tuple[float, float] = (0.3, 1.0)
    scale: float = 0.5
    scale_p: float = 0.5
    rotation: float = 30.0
    flip_p: float = 0.5

    def draw(self, batch: int, generator: Generator) -> Tensor:
        """Affine matrices theta (batch, 2, 3), as `warp` takes them."""
        side = _uniform(batch, *self.crop, generator).sqrt()
        shift = torch.stack([_uniform(batch, -1, 1, generator) for _ in "xy"], 1)
        shift = shift * (1 - side)[:, None]  # the crop stays in the frame
        shrunk = _coin(batch, self.scale_p, generator)
        side = torch.where(shrunk, side / self.scale, side)
        bound = math.radians(self.rotation)
        angle = _uniform(batch, -bound, bound, generator)
        flip = torch.where(_coin(batch, self.flip_p, generator), -1.0, 1.0)
        return affine(side, shift, angle, flip)


def affine(side: Tensor, shift: Tensor, angle: Tensor, flip: Tensor) -> Tensor:
    """Affine matrices theta (B, 2, 3), from output to input coordinates.

    The output shows at p what the input has at side · R(angle) · flip · p + shift,
    in coordinates that run from −1 to 1 over the frame. side (B,), shift (B, 2),
    angle (B,) in radians, flip (B,): −1 mirrors left and right, 1 does not.
    """
    cos, sin = side * angle.cos(), side * angle.sin()
    return torch.stack(
        [
            torch.stack([cos * flip, -sin, shift[:, 0]], 1),
            torch.stack([sin * flip, cos, shift[:, 1]], 1),
        ],
        1,
    )


def fixed_affine(
    side: float = 1.0,
    x: float = 0.0,
    y: float = 0.0,
    degrees: float = 0.0,
    flip: float = 1.0,
) -> Tensor:
    """theta (1, 2, 3) of one transform that is given, not drawn: `affine` of numbers.

    side: of the part that is seen, in frames; x and y: its centre, in [-1, 1]; flip −1
    mirrors left and right.
    """
    sides, angle, flips = torch.tensor([[side], [math.radians(degrees)], [flip]])
    return affine(sides, torch.tensor([[float(x), float(y)]]), angle, flips)


def warp(x: Tensor, theta: Tensor) -> Tensor:
    """Transform images (B, C, H, W) or maps (B, h, w) by theta (B, 2, 3).

    theta maps output to input coordinates, which run from −1 to 1 over the frame
    (`affine_grid`, align_corners=False), so that one theta transforms an image of any
    size and its response map alike. Bilinear; out-of-frame cells are 0. ValueError
    for shapes that do not fit each other, and for integers.
    """
    if x.ndim not in (3, 4):
        raise ValueError(
            f"x has shape {tuple(x.shape)}; need (B, C, H, W) or (B, h, w)"
        )
    if theta.shape != (len(x), 2, 3):
        raise ValueError(
            f"theta has shape {tuple(theta.shape)}; need {(len(x), 2, 3)}, "
            "one matrix per sample"
        )
    if not x.is_floating_point():
        raise ValueError(f"x is {x.dtype}; need floats, to interpolate: x.float()")
    images = x if x.ndim == 4 else x[:, None]
    grid = F.affine_grid(theta.to(x.dtype), list(images.shape), align_corners=False)
    warped = F.grid_sample(images, grid, align_corners=False)
    return warped if x.ndim == 4 else warped[:, 0]


def in_frame(theta: Tensor, height: int, width: int) -> Tensor:
    """Cells (B, height, width) of bool that `warp` by theta (B, 2, 3) fills entirely.

    The others show what lies out of frame, wholly or in part.
    """
    ones = torch.ones(len(theta), height, width, device=theta.device)
    return warp(ones, theta) > 1 - 1e-3


def draw_crops(batch: int, larger: int, size: int, generator: Generator) -> Tensor:
    """Upper left corners (batch, 2), in pixels, of random crops for `crop`.

    The images have `larger` pixels a side, the crops `size`; ValueError if the images
    are smaller than the crops.
    """
    if larger < size:
        raise ValueError(f"images have {larger} pixels a side; the model needs {size}")
    corners = _uniform(2 * batch, 0, larger - size + 1, generator).long()
    return corners.clamp(max=larger - size).view(batch, 2)


def crop(images: Tensor, corners: Tensor, size: int) -> Tensor:
    """Crops (B, C, size, size) of images (B, C, H, W), each at its own corner (B, 2)."""
    if images.shape[2:] == (size, size):
        return images
    span = torch.arange(size, device=images.device)
    rows, columns = (corners[:, k, None] + span for k in (0, 1))  # (B, size)
    sample = torch.arange(len(images), device=images.device)[:, None, None]
    crops = images.permute(0, 2, 3, 1)[sample, rows[:, :, None], columns[:, None]]
    return crops.permute(0, 3, 1, 2)


# --- T_mask and T_mix: the sound --------------------------------------------


@dataclass(frozen=True)
class Mask:
    """T_mask: one interval of time and one of frequency, silenced (section 3.2.1).

    `time` and `frequency` are the largest widths, as fractions of the axis; the
    released code masks up to 180 of 670 frames and 35 of 257 mel bands.
    """

    time: float = 180 / 670
    time_p: float = 0.8
    frequency: float = 35 / 257
    frequency_p: float = 0.8

    def draw(self, batch: int, generator: Generator) -> dict[str, Tensor]:
        """Start and end (batch, 2) in "time" and in "frequency".

        Both are fractions of the axis; where they are equal, nothing is masked.
        """
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


def apply_mask(
    spectrograms: Tensor, draw: dict[str, Tensor], fill: float = 0.0
) -> Tensor:
    """Spectrograms (B, 1, F, T), each with the intervals of its draw set to `fill`.

    `fill` is the value of silence in a spectrogram: `AudioConfig.silence`.
    """
    masked = torch.zeros_like(spectrograms, dtype=torch.bool)
    for axis, dim in (("frequency", 2), ("time", 3)):
        size = spectrograms.shape[dim]
        index = torch.arange(size, device=spectrograms.device)
        start, end = (draw[axis] * size).round().split(1, 1)  # (B, 1) each
        inside = (index >= start) & (index < end)  # (B, size)
        masked |= inside[:, None, :, None] if dim == 2 else inside[:, None, None, :]
    return spectrograms.masked_fill(masked, fill)


def mixing_weight(epoch: int, epochs: int, largest: float = 0.65) -> float:
    """The weight α of eq. 4: 0 in the first epoch, rising linearly to `largest` in the last."""
    return largest * epoch / max(epochs - 1, 1)


def most_similar(
    embeddings: Tensor, originals: Sequence | None = None, block: int = 1024
) -> Tensor:
    """Index (N,) of the most similar clip of each clip, of another original recording.

    embeddings (N, C), unit vectors. originals: N labels; clips of one label are
    excerpts of one recording, and to mix them would teach nothing. By default each
    clip is its own. Cosines are computed `block` rows at a time, fewer where they would
    take more than 256 MB.
    """
    count = len(embeddings)
    block = max(1, min(block, 2**26 // max(count, 1)))
    number = {
        name: k for k, name in enumerate(dict.fromkeys(originals or range(count)))
    }
    if len(number) < 2:
        raise ValueError(
            f"{count} clip(s) of {len(number)} recording(s) have no other to mix with; "
            "need two recordings or more"
        )
    own = torch.tensor([number[name] for name in originals or range(count)])
    own = own.to(embeddings.device)
    found = []
    for start in range(0, count, block):
        rows = embeddings[start : start + block] @ embeddings.T
        rows[own[start : start + block, None] == own] = -torch.inf
        found.append(rows.argmax(1))
    return torch.cat(found)


def mix(sounds: Tensor, similar: Tensor, alpha: float) -> Tensor:
    """A_mix = (1 − α) A + α A_sim, waves or spectrograms of one shape: eq. 4."""
    return torch.lerp(sounds, similar, alpha)
