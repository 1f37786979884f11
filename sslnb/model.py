"""Two encoders and a cosine between them (notebook 03; section 3.2, eq. 2 and 3).

    >>> model = SoundLocaliser.from_preset("laptop")
    >>> similarity = model(images, spectrograms)     # (B, B, 12, 12)
    >>> response = similarity[0, 0]                  # image 0 against its sound
"""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn
from torchvision.models.resnet import BasicBlock

from sslnb.data.media import (
    LAPTOP_AUDIO,
    RELEASE_AUDIO,
    AudioConfig,
    check_images,
    normalise,
    spectrogram,
)
from sslnb.files import atomic_write
from sslnb.release import read_release


@dataclass(frozen=True)
class ModelConfig:
    """Size of the two encoders and of what they see."""

    image_size: int = 224  # pixels
    resample: str = "bilinear"  # how pictures come to that size: as of load_image
    width: int = 64  # channels of the first stage; doubles at every stage
    blocks: tuple = (2, 2, 2, 2)  # residual blocks a stage: ResNet-18
    strides: tuple = (1, 2, 2, 1)  # 224 -> 14: the last stage does not shrink
    pool: bool = True  # max-pool after the first convolution of the image encoder
    smooth: float = 0.0  # cells: σ of a Gaussian over the image features; 0: none
    audio: AudioConfig = field(default=RELEASE_AUDIO)

    @classmethod
    def from_dict(cls, values):
        """The configuration that `dataclasses.asdict` and JSON made of one."""
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**{**values, "audio": AudioConfig(**values["audio"])})


PRESETS = {
    # two ResNet-18: 224² -> 14 × 14 × 512, 257 × 670 -> 512
    "paper": ModelConfig(resample="bicubic"),
    # 96² -> 12 × 12 × 128. One block a stage, so that a cell sees its
    # neighbourhood: where it sees the whole picture, maps peak in a corner.
    # Smoothed, so that maps cover objects and not their most telling spots alone.
    "laptop": ModelConfig(
        image_size=96, width=16, blocks=(1, 1, 1, 1), strides=(1, 2, 2, 1),
        pool=False, smooth=1.0, audio=LAPTOP_AUDIO,
    ),
}


def encoder(channels, config, pool):
    """A ResNet without its head: (B, channels, H, W) to (B, 8 · width, h, w) ≥ 0."""
    width = config.width
    layers = [
        nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    ]
    if pool:
        layers.append(nn.MaxPool2d(3, stride=2, padding=1))
    for stage, (blocks, stride) in enumerate(zip(config.blocks, config.strides)):
        out = config.width * 2**stage
        for block in range(blocks):
            step = stride if block == 0 else 1
            shortcut = None
            if step != 1 or width != out:
                shortcut = nn.Sequential(
                    nn.Conv2d(width, out, 1, stride=step, bias=False),
                    nn.BatchNorm2d(out),
                )
            layers.append(BasicBlock(width, out, step, shortcut))
            width = out
    network = nn.Sequential(*layers)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network


class SoundLocaliser(nn.Module):
    """Image and sound to a map of where the sound comes from.

    `leftover`: names in an authors' checkpoint that neither encoder uses.
    """

    leftover = ()

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.image_encoder = encoder(3, config, config.pool)
        self.audio_encoder = encoder(1, config, pool=True)  # its cells are only maxed

    @classmethod
    def from_preset(cls, name):
        """A fresh model: "paper" or "laptop". Seed with torch.manual_seed."""
        if name not in PRESETS:
            raise ValueError(f"unknown preset {name!r}; known are {', '.join(PRESETS)}")
        return cls(PRESETS[name])

    @classmethod
    def from_release(cls, path):
        """The paper's published model, from its authors' `.pth.tar`, in eval mode.

        It is the preset "paper"; nothing in the file is executed (sslnb/release.py,
        with all its errors). ValueError for a checkpoint of LVS: its encoders are
        the same, but `predict` would give them another spectrogram than theirs.
        """
        model = cls(PRESETS["paper"])
        found = read_release(path, model.state_dict())
        if found.source == "LVS":
            raise ValueError(
                f"{path} is of LVS, whose weights expect LVS's own spectrogram: take "
                "them with sslnb.release.read_release, and give spectrograms to forward"
            )
        model.load_state_dict(found.state)
        model.leftover = found.leftover
        return model.eval()

    def embed_image(self, images):
        """(B, 3, H, W), normalised as `media.normalise` does, to (B, C, h, w).

        A unit vector per cell (eq. 2); features follow a ReLU, so cosines are ≥ 0.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(
                f"images have shape {tuple(images.shape)}; need (B, 3, H, W)"
            )
        features = self.image_encoder(images).float()
        # A strided convolution looks at the first pixel of its cell. The middle lies
        # half a cell further on, and there the smoothing puts it.
        step = stride(self.config)
        with torch.autocast(features.device.type, enabled=False):
            features = smooth(features, self.config.smooth, (step - 1) / 2 / step)
        return F.normalize(features, dim=1)

    def embed_audio(self, spectrograms):
        """(B, 1, F, T) to a unit vector per clip (B, C): the maximum over cells."""
        if spectrograms.ndim != 4 or spectrograms.shape[1] != 1:
            raise ValueError(
                f"spectrograms have shape {tuple(spectrograms.shape)}; need (B, 1, F, T)"
            )
        return F.normalize(self.audio_encoder(spectrograms).float().amax((2, 3)), dim=1)

    def forward(self, images, spectrograms):
        """Similarity (B, B', h, w): `[i, j]` is image i against sound j (eq. 3)."""
        return respond(self.embed_image(images), self.embed_audio(spectrograms))

    @torch.no_grad()
    def predict(self, images, waves):
        """Response maps (B, h, w) of pictures and their own sounds, in eval mode.

        images (B, 3, H, W), floats in [0, 1] or uint8; waves (B, samples), floats in
        [-1, 1] or int16. TypeError for what are no tensors; ValueError for another
        shape, dtype or range, as `fit` and media.spectrogram have it.
        """
        if len(images) != len(waves):
            raise ValueError(
                f"{len(images)} pictures have {len(waves)} waves; need one each"
            )
        was_training = self.training
        self.eval()
        try:
            sounds = spectrogram(waves, self.config.audio)  # (B, 1, F, T)
            v = self.embed_image(normalise(self.fit(images)))  # (B, C, h, w)
            a = self.embed_audio(sounds)  # (B, C)
        finally:
            self.train(was_training)
        return torch.einsum("bchw,bc->bhw", v, a)

    def fit(self, images):
        """Images (B, 3, H, W), in [0, 1] or uint8, squashed to the model's size.

        What is no such tensor is refused (media.check_images).
        """
        check_images(images)
        images = images / 255 if images.dtype == torch.uint8 else images
        size = (self.config.image_size,) * 2
        if images.shape[2:] == size:
            return images
        return F.interpolate(images, size, mode="bilinear", antialias=True)

    def save(self, folder, **card):
        """Write model.safetensors and model.json (configuration and `card`)."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(folder / "model.safetensors") as path:
            write(self.state_dict(), path)
        text = json.dumps({"model": asdict(self.config), **card}, indent=2)
        with atomic_write(folder / "model.json") as path:
            path.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def open(cls, path):
        """A trained model in eval mode: a folder of our own, or an authors' file."""
        return cls.load(path) if Path(path).is_dir() else cls.from_release(path)

    @classmethod
    def load(cls, folder):
        """The model that `save` wrote into a folder, in eval mode."""
        folder = Path(folder)
        for name in ("model.safetensors", "model.json"):
            if not (folder / name).exists():
                raise FileNotFoundError(
                    f"{folder / name} is missing: train one (notebook 05) or give "
                    "the folder of a checkpoint"
                )
        try:
            card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
            model = cls(ModelConfig.from_dict(card["model"]))
            model.load_state_dict(load_file(folder / "model.safetensors"))
        except (
            SafetensorError, ValueError, KeyError, TypeError, AttributeError, RuntimeError
        ) as error:
            raise ValueError(f"checkpoint {folder} is damaged: {error}") from error
        return model.eval()


def write(tensors, path, metadata=None):
    """Save tensors {name: tensor} as safetensors; OSError where that cannot be."""
    tensors = {name: value.contiguous() for name, value in tensors.items()}
    path.write_bytes(save(tensors, metadata))  # save_file lets its owner alone read it


def smooth(features, sigma, shift=0.0):
    """Gaussian of `sigma` cells over (B, C, h, w), centred `shift` cells further on.

    The border is repeated outwards; sigma 0 leaves the features as they are.
    """
    if sigma == 0:
        return features
    channels, radius = features.shape[1], math.ceil(3 * sigma)
    cells = torch.arange(-radius, radius + 1, device=features.device)
    kernel = torch.softmax(-0.5 * ((cells - shift) / sigma).square(), 0)
    kernel = kernel.expand(channels, 1, 1, -1)
    features = F.pad(features, [radius] * 4, mode="replicate")
    features = F.conv2d(features, kernel, groups=channels)
    return F.conv2d(features, kernel.transpose(2, 3), groups=channels)


def stride(config):
    """Pixels from one cell of the response map to the next."""
    return 2 * (2 if config.pool else 1) * math.prod(config.strides)


def respond(v, a):
    """Cosine of every cell of every image with every sound, in one product.

    v (I, C, h, w) and a (J, C), unit vectors, to (I, J, h, w): eq. 3.
    """
    return (a @ v.flatten(2)).unflatten(2, v.shape[2:])
