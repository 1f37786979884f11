"""Two encoders and the cosine of their features (notebook 03; section 3.2, eq. 2, 3).

>>> model = SoundLocaliser.from_preset("laptop")
>>> similarity = model(images, spectrograms)     # (B, B, 12, 12)
>>> response = similarity[0, 0]                  # image 0 against its sound
"""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from sslnb.data.media import (
    LAPTOP_AUDIO,
    RATES,
    RELEASE_AUDIO,
    AudioConfig,
    check_images,
    normalise,
    spectrogram,
)
from sslnb.files import atomic_write
from sslnb.release import read_release
from sslnb.settings import check


@dataclass(frozen=True)
class ModelConfig:
    """Size of the two encoders and of their inputs."""

    image_size: int = 224  # pixels
    resample: str = "bilinear"  # how images are resized to it: see media.load_image
    width: int = 64  # channels of the first stage; doubles at every stage
    blocks: tuple[int, ...] = (2, 2, 2, 2)  # residual blocks per stage: ResNet-18
    strides: tuple[int, ...] = (1, 2, 2, 1)  # 224 -> 14: the last stage does not shrink
    pool: bool = True  # max-pool after the first convolution of the image encoder
    smooth: float = 0.0  # cells: σ of a Gaussian over the image features; 0: none
    audio: AudioConfig = field(default=RELEASE_AUDIO)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ModelConfig":
        """The configuration back from `dataclasses.asdict`, through JSON or not.

        ValueError for a value of another type, or beyond what a model could have.
        """
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        config = cls(**{**values, "audio": AudioConfig(**values["audio"])})
        check(config, RANGES)
        check(config.audio, AUDIO_RANGES)
        if config.resample not in ("bilinear", "bicubic"):
            raise ValueError(
                f"resample is {config.resample!r:.80}; need bilinear or bicubic"
            )
        if not 1 <= len(config.blocks) <= len(config.strides) <= 4:
            raise ValueError(
                f"blocks are {config.blocks} with strides {config.strides}; need one of "
                "each for 1 to 4 stages"
            )
        return config


# Of what a file may say: beyond, memory or time would have no bound
RANGES: dict[str, tuple[float, float]] = {
    "image_size": (1, 8_192),
    "width": (1, 4_096),
    "blocks": (1, 100),
    "strides": (1, 8),
    "smooth": (0, 100),
}
AUDIO_RANGES: dict[str, tuple[float, float]] = {
    "sample_rate": RATES,
    "seconds": (0.01, 3_600),
    "n_fft": (2, 2**16),
    "hop": (1, 2**16),
    "n_mels": (1, 2**14),
    "f_max": (1, 384_000),
    "frames": (1, 2**20),
    "span": (1e-3, 1e6),
}

PRESETS = {
    # two ResNet-18: 224² -> 14 × 14 × 512, 257 × 670 -> 512
    "paper": ModelConfig(resample="bicubic"),
    # 96² -> 12 × 12 × 128. One block per stage keeps the receptive field of a cell
    # smaller than the image; with the whole image in it, maps peak in a corner.
    # Smoothed, so that maps cover objects rather than their most distinctive spots.
    "laptop": ModelConfig(
        image_size=96,
        width=16,
        blocks=(1, 1, 1, 1),
        strides=(1, 2, 2, 1),
        pool=False,
        smooth=1.5,
        audio=LAPTOP_AUDIO,
    ),
}


class Block(nn.Module):
    """Two convolutions beside a shortcut: a basic block of a ResNet (He et al. 2016).

    Its parts have the names that torchvision gives them. To import that takes a second.
    """

    def __init__(self, width: int, out: int, stride: int, shortcut: nn.Module | None):
        super().__init__()
        self.conv1 = nn.Conv2d(width, out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.downsample = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H, W) to (B, out, H / stride, W / stride), ≥ 0."""
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        y += x if self.downsample is None else self.downsample(x)
        return self.relu(y)


def encoder(channels: int, config: ModelConfig, pool: bool) -> nn.Sequential:
    """A ResNet without its head: (B, channels, H, W) to (B, C, h, w), ≥ 0.

    C is 8 · width of four stages, and half of that for each that is missing. pool:
    whether a max-pool follows the first convolution.
    """
    width = config.width
    layers: list[nn.Module] = [
        nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(width),
    ]
    if pool:  # the same before the ReLU as after it, which then has a quarter to do
        layers.append(nn.MaxPool2d(3, stride=2, padding=1))
    layers.append(nn.ReLU(inplace=True))
    for stage, (blocks, stride) in enumerate(zip(config.blocks, config.strides)):
        out = config.width * 2**stage
        for block in range(blocks):
            step = stride if block == 0 else 1
            shortcut: nn.Module | None = None
            if step != 1 or width != out:
                shortcut = nn.Sequential(
                    nn.Conv2d(width, out, 1, stride=step, bias=False),
                    nn.BatchNorm2d(out),
                )
            layers.append(Block(width, out, step, shortcut))
            width = out
    network = nn.Sequential(*layers)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network


class SoundLocaliser(nn.Module):
    """From an image and a sound to a map of where in the image the sound comes from.

    `leftover`: tensors of an authors' checkpoint that neither encoder uses, by name.
    """

    leftover: tuple[str, ...] = ()

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.image_encoder = encoder(3, config, config.pool)
        # of the sound's cells only the maximum is used, so they may be coarse
        self.audio_encoder = encoder(1, config, pool=True)

    @classmethod
    def from_preset(cls, name: str) -> "SoundLocaliser":
        """An untrained model, "paper" or "laptop". torch.manual_seed seeds it."""
        if name not in PRESETS:
            raise ValueError(f"unknown preset {name!r}; known are {', '.join(PRESETS)}")
        return cls(PRESETS[name])

    @classmethod
    def from_release(cls, path: str | Path) -> "SoundLocaliser":
        """The paper's published model, from its authors' `.pth.tar`, in eval mode.

        It has the preset "paper". `release.read_release` reads the file, runs no code
        in it, and raises its errors. ValueError for a checkpoint of LVS: its encoders
        are the same, but it was trained on another spectrogram than `predict` makes.
        """
        model = cls(PRESETS["paper"])
        found = read_release(path, model.state_dict())
        if found.source == "LVS":
            raise ValueError(
                f"{path} is of LVS, whose weights need LVS's own spectrogram: read them "
                "with sslnb.release.read_release and pass such spectrograms to forward"
            )
        model.load_state_dict(found.state)
        model.leftover = found.leftover
        return model.eval()

    def embed_image(self, images: Tensor) -> Tensor:
        """A unit vector per cell, (B, C, h, w), of images (B, 3, H, W): eq. 2.

        The images are normalised by `media.normalise`. Features come out of a ReLU, so
        their cosines are ≥ 0.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(
                f"images have shape {tuple(images.shape)}; need (B, 3, H, W)"
            )
        features = self.image_encoder(images).float()
        # Strided convolutions are centred on the first pixel of a cell; the smoothing
        # shifts them to its middle, half a cell further on.
        step = stride(self.config)
        with torch.autocast(features.device.type, enabled=False):
            features = smooth(features, self.config.smooth, (step - 1) / 2 / step)
        return F.normalize(features, dim=1)

    def embed_audio(self, spectrograms: Tensor) -> Tensor:
        """A unit vector per clip, (B, C), of spectrograms (B, 1, F, T): eq. 2.

        It is the maximum of the features over time and frequency.
        """
        if spectrograms.ndim != 4 or spectrograms.shape[1] != 1:
            raise ValueError(
                f"spectrograms have shape {tuple(spectrograms.shape)}; need (B, 1, F, T)"
            )
        return F.normalize(self.audio_encoder(spectrograms).float().amax((2, 3)), dim=1)

    def forward(self, images: Tensor, spectrograms: Tensor) -> Tensor:
        """Similarity (B, B', h, w): `[i, j]` is image i against sound j (eq. 3)."""
        return respond(self.embed_image(images), self.embed_audio(spectrograms))

    def predict(self, images: Tensor, waves: Tensor) -> Tensor:
        """Response maps (B, h, w) of images and their own sounds, in eval mode.

        images (B, 3, H, W), floats in [0, 1] or uint8; waves (B, samples), floats in
        [-1, 1] or int16. TypeError for anything but tensors; ValueError for another
        shape, dtype or range (`fit`, `media.spectrogram`).
        """
        with evaluating(self):
            images = normalise(self.fit(images))  # (B, 3, S, S)
            sounds = spectrogram(waves, self.config.audio)  # (B, 1, F, T)
            if len(images) != len(sounds):
                raise ValueError(
                    f"{len(images)} images come with {len(sounds)} waves; need one each"
                )
            v = self.embed_image(images)  # (B, C, h, w)
            a = self.embed_audio(sounds)  # (B, C)
            return torch.einsum("bchw,bc->bhw", v, a)

    def fit(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W), in [0, 1] or uint8, resized to the model's square.

        TypeError or ValueError for anything else (`media.check_images`).
        """
        check_images(images)
        images = images / 255 if images.dtype == torch.uint8 else images
        size = (self.config.image_size, self.config.image_size)
        if images.shape[2:] == size:
            return images
        resized = F.interpolate(images, size, mode=self.config.resample, antialias=True)
        return resized.clamp(0, 1)  # bicubic overshoots

    def save(self, folder: str | Path, **card: Any) -> None:
        """Write model.safetensors, and model.json with the configuration and `card`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(folder / "model.safetensors") as path:
            write(self.state_dict(), path)
        text = json.dumps({"model": asdict(self.config), **card}, indent=2)
        with atomic_write(folder / "model.json") as path:
            path.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def open(cls, path: str | Path) -> "SoundLocaliser":
        """A trained model in eval mode, from our folder or from an authors' file."""
        return cls.load(path) if Path(path).is_dir() else cls.from_release(path)

    @classmethod
    def load(cls, folder: str | Path) -> "SoundLocaliser":
        """The model that `save` wrote into a folder, in eval mode.

        FileNotFoundError if a file is missing, ValueError if one is damaged.
        """
        folder = Path(folder)
        for name in ("model.safetensors", "model.json"):
            if not (folder / name).exists():
                raise FileNotFoundError(
                    f"{folder / name} is missing: train a model (notebook 05), or give "
                    "the folder of a checkpoint"
                )
        try:
            card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
            config = ModelConfig.from_dict(card["model"])
            weights = load_file(folder / "model.safetensors")
            model = with_weights(config, weights)
        except (
            SafetensorError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            RuntimeError,  # RecursionError too
        ) as error:
            raise ValueError(
                f"checkpoint {folder} is damaged: {str(error)[:300]}"
            ) from error
        return model.eval()


def with_weights(config: ModelConfig, weights: dict[str, Tensor]) -> SoundLocaliser:
    """A model of `config` with weights {name: tensor}, as a file says both.

    ValueError where names, shapes or dtypes are not those of such a model, or a number
    is not finite. What would be larger than the file is refused before it is made: it
    could be larger than any memory.
    """
    asked, held = weights_of(config), sum(value.numel() for value in weights.values())
    if asked > held:
        raise ValueError(f"it asks for {asked:,} weights or more, and holds {held:,}")
    model = SoundLocaliser(config)
    template = model.state_dict()
    if weights.keys() != template.keys():
        name = min(weights.keys() ^ template.keys())
        lacks = name in template
        raise ValueError(f"it lacks {name}" if lacks else f"no model has {name[:80]!r}")
    for name, value in weights.items():
        like = template[name]
        if (value.shape, value.dtype) != (like.shape, like.dtype):
            raise ValueError(
                f"{name} is {value.dtype} {tuple(value.shape)}; need {like.dtype} "
                f"{tuple(like.shape)}"
            )
        if not value.isfinite().all():
            raise ValueError(f"{name} has values that are not finite")
    model.load_state_dict(weights)
    return model


def weights_of(config: ModelConfig) -> int:
    """How many weights the 3 × 3 convolutions of both encoders have together."""
    width, count = config.width, 0
    for stage, blocks in enumerate(config.blocks):
        out = config.width * 2**stage
        count += 9 * out * (width + out * (2 * blocks - 1))
        width = out
    return 2 * count


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Run a block in eval mode without gradients, then restore the model's mode."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def write(
    tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None
) -> None:
    """Write tensors {name: tensor} as safetensors; OSError if that fails."""
    tensors = {name: value.contiguous() for name, value in tensors.items()}
    # not save_file, whose files only their owner may read
    path.write_bytes(save(tensors, metadata))


def smooth(features: Tensor, sigma: float, shift: float = 0.0) -> Tensor:
    """Features (B, C, h, w) under a Gaussian of `sigma` cells, off-centre by `shift`.

    A cell at x averages around x + shift. The border repeats outwards; sigma 0 leaves
    the features as they are.
    """
    if sigma == 0:
        return features
    height, width = features.shape[2:]
    x = features.permute(0, 2, 3, 1)  # (B, h, w, C): as channels-last features lie
    # two small matrix products, which take less time than convolutions by channel
    x = _averages(height, sigma, shift, x) @ x.flatten(2)  # (B, h, wC)
    x = _averages(width, sigma, shift, x) @ x.unflatten(2, (width, -1))
    return x.permute(0, 3, 1, 2)


def _averages(cells: int, sigma: float, shift: float, like: Tensor) -> Tensor:
    """(cells, cells): the weight that each cell, a row, gives to every cell of a line.

    like: a tensor whose dtype and device it has.
    """
    radius = math.ceil(3 * sigma)
    offsets = torch.arange(-radius, radius + 1, device=like.device)
    weights = torch.softmax(-0.5 * ((offsets - shift) / sigma).square(), 0).to(like)
    cell = torch.arange(cells, device=like.device)[:, None]
    seen = (cell + offsets).clamp(0, cells - 1)
    return weights @ F.one_hot(seen, cells).to(like)


def stride(config: ModelConfig) -> int:
    """Pixels of the image from one cell of the response map to the next."""
    return (
        2 * (2 if config.pool else 1) * math.prod(config.strides[: len(config.blocks)])
    )


def respond(v: Tensor, a: Tensor) -> Tensor:
    """Cosine (I, J, h, w) of every cell of every image with every sound: eq. 3.

    v (I, C, h, w) and a (J, C) hold unit vectors, so one matrix product is enough.
    """
    return (a @ v.flatten(2)).unflatten(2, v.shape[2:])
