"""Images and sounds as the model's inputs (notebook 01).

Pillow, libsndfile and FFmpeg read; torchaudio resamples and has the mel filters. This
file fixes the choices, and refuses what would give a wrong input.

    >>> image = load_image("dog.jpg", size=96)        # (3, 96, 96) in [0, 1]
    >>> wave = load_audio("dog.ogg", LAPTOP_AUDIO)    # (48000,) in [-1, 1]
    >>> spectrogram(wave[None], LAPTOP_AUDIO).shape   # (1, 1, 64, 120)
"""

import math
import os
import warnings
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from numbers import Integral
from pathlib import Path

import numpy as np
import soundfile
import torch
import torchaudio
from PIL import Image, ImageOps
from torch import Tensor

from sslnb.data.decode import LONGEST, read_sound

MEAN = (0.485, 0.456, 0.406)  # of ImageNet, as in the released code
STD = (0.229, 0.224, 0.225)
# How far floats may go beyond [0, 1] and [-1, 1]. Bicubic resizing overshoots an edge
# by 0.19 and a corner by 0.41; images normalised for a network go further. Lossy codecs
# and resampling reach about 2, and noise of standard deviation 1 reaches 5; integers as
# floats go much further, unless they are all but silent.
PIXELS = (-0.5, 1.5)
SAMPLES = (-8.0, 8.0)
UNRECOGNISED = 1  # libsndfile's code for a format that it does not know
# A small file may say that it is larger than any memory, or unpack to that
PIXELS_MOST = 89_478_485  # of an image: where Pillow warns
RATES = (1_000, 768_000)  # Hz
LONG = 2**22  # samples: of a longer sound only the middle is resampled
MARGIN = 16  # blocks of samples to either side, on which a resampled one depends
# Pillow has others, but some of these start programs (EPS: Ghostscript)
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "PPM", "TIFF", "JPEG2000", "AVIF")


@dataclass(frozen=True)
class AudioConfig:
    """How a wave becomes a spectrogram: decibels of a mel power spectrum.

    Bands of power are 10 log10(max(power, 1e-10)); then `floor` dB becomes 0 and
    `floor + span` dB becomes 1 (span 1, floor 0: plain decibels).
    `silence` is the value of silence after that, which masks fill in.
    """

    sample_rate: int = 16_000  # Hz
    seconds: float = 3.0
    n_fft: int = 1024
    hop: int = 400  # samples: 25 ms
    n_mels: int = 64
    f_max: float = 4_000.0  # Hz; SoundStamps is silent above
    frames: int = 120
    floor: float = -30.0  # dB: where the noise of SoundStamps lies
    span: float = 60.0  # dB
    clip: bool = True  # below the floor is the floor
    normalized: bool = False  # divide power by that of the window, Σ w²

    @property
    def samples(self) -> int:
        """Samples of a clip of `seconds`."""
        return round(self.sample_rate * self.seconds)

    @property
    def silence(self) -> float:
        """The value of silence in a spectrogram."""
        value = (-100.0 - self.floor) / self.span
        return max(value, 0.0) if self.clip else value


LAPTOP_AUDIO = AudioConfig()
# The release: reference settings of the published weights, 257 x 670.
RELEASE_AUDIO = AudioConfig(
    seconds=10.0,
    n_fft=512,
    hop=239,
    n_mels=257,
    f_max=8_000.0,
    frames=670,
    floor=0.0,
    span=1.0,
    clip=False,
    normalized=True,
)


def load_image(path: str | Path, size: int, resample: str = "bilinear") -> Tensor:
    """An image, squashed to a square, as (3, size, size) in [0, 1].

    Greyscale becomes RGB, transparency is laid on white, and a camera's rotation tag is
    obeyed. Squashed, not cropped: the boxes of the benchmarks are normalised by the whole
    frame. resample: "bilinear" or, as in the released code, "bicubic". OSError names a file
    that cannot be read, is in none of FORMATS, or has more than `PIXELS_MOST` pixels;
    ValueError another size or resample.
    """
    if not isinstance(size, Integral) or size < 1:
        raise ValueError(f"size is {size!r}; need a whole number of pixels, 1 or more")
    known = Image.Resampling.__members__
    if resample.upper() not in known:
        raise ValueError(
            f"resample is {resample!r}; known are {', '.join(known).lower()}"
        )
    try:
        _check_regular(path)
        with Image.open(path, formats=FORMATS) as file:
            if math.prod(file.size) > PIXELS_MOST:
                raise ValueError(
                    f"it has {math.prod(file.size):,} pixels; need at most {PIXELS_MOST:,}"
                )
            ImageOps.exif_transpose(file, in_place=True)
            image: Image.Image = file
            if image.mode == "F":
                raise ValueError("its pixels are floats; save it with 8 or 16 bits")
            if image.mode.startswith("I"):  # 16-bit greyscale, of either byte order
                pixels = np.asarray(image, dtype=np.float32)
                image = Image.fromarray((pixels / 257).clip(0, 255).astype(np.uint8))
            if image.has_transparency_data:
                white = Image.new("RGBA", image.size, "white")
                white.alpha_composite(image.convert("RGBA"))
                image = white
            image = image.convert("RGB").resize((size, size), known[resample.upper()])
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no image at {path}") from error
    except Exception as error:  # Pillow raises much on a damaged file
        raise OSError(
            f"{path} is damaged or not an image that can be read: {str(error)[:300]}"
        ) from error
    return torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255


def load_audio(path: str | Path, config: AudioConfig = LAPTOP_AUDIO) -> Tensor:
    """A sound as a wave (config.samples,): mono, resampled, cropped or repeated.

    A longer file gives its middle; a shorter one is repeated, as in the released code.
    Reads wav, flac, ogg, mp3 and whatever else libsndfile reads; and m4a, mp4, webm and
    whatever else FFmpeg reads, of which it takes the best sound track. Silence stays
    silence. OSError names a file that cannot be read, or holds more than `LONGEST`
    samples; ValueError one with no samples, with samples that are not numbers or far
    beyond full scale (`SAMPLES`), or at a sample rate outside of `RATES`.
    """
    try:
        _check_regular(path)
        wave, rate = _read_audio(path)
    except (OSError, soundfile.LibsndfileError, ValueError) as error:
        raise OSError(
            f"{path} is missing, damaged or not a sound that libsndfile or FFmpeg reads "
            f"(wav, flac, ogg, mp3, m4a, mp4 and others): {error}"
        ) from error
    if len(wave) == 0:
        raise ValueError(f"{path} holds no samples")
    if not RATES[0] <= rate <= RATES[1]:
        raise ValueError(
            f"{path} has a sample rate of {rate} Hz; need {RATES[0]} to {RATES[1]}"
        )
    what, need = f"samples of {path}", "floats in [-1, 1], or integers"
    if not np.isfinite(wave).all():
        raise ValueError(f"{path} holds samples that are not finite numbers")
    wave = torch.from_numpy(wave).mean(1)
    _check_range(wave, what, SAMPLES, need)
    # 44,117 to 16,000 Hz would take a filter of gigabytes; 943 to 342 is as good
    ratio = Fraction(rate, config.sample_rate).limit_denominator(500)
    start = 0
    if len(wave) > LONG:
        wave, start = _around_middle(wave, ratio, config.samples)
    wave = torchaudio.functional.resample(wave, ratio.numerator, ratio.denominator)
    _check_range(wave, what, SAMPLES, need)
    if start:
        wave = wave[start : start + config.samples]
    return fit_length(wave, config.samples)


def _around_middle(wave, ratio, samples):
    """Of a long wave what its resampled middle depends on, and where that then begins.

    ratio: samples before to samples after resampling, whose filters take that many.
    """
    before, after = ratio.numerator, ratio.denominator
    start = (-(-len(wave) * after // before) - samples) // 2  # as `fit_length` has it
    first = max(start // after - MARGIN, 0)
    last = (start + samples) // after + MARGIN
    if start <= 0:
        return wave, 0
    return wave[first * before : last * before], start - first * after


def _read_audio(path):
    """Samples (T, channels) float32 and their rate."""
    try:
        with soundfile.SoundFile(path) as file:
            # else its header is wrong, or says nothing: FFmpeg counts as it reads
            if file.frames * file.channels <= LONGEST:
                return file.read(dtype="float32", always_2d=True), file.samplerate
    except soundfile.LibsndfileError as error:
        if error.code != UNRECOGNISED:
            raise
    return read_sound(path)


def _check_regular(path):
    """OSError for a pipe or a device, which might never end; not for a missing file."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise OSError("it is no file")


def fit_length(wave: Tensor, samples: int) -> Tensor:
    """The middle `samples` of a wave (…, T), which is repeated first if it is shorter.

    TypeError for anything but a tensor, ValueError for a wave without samples.
    """
    _check_tensor(wave, "waves")  # NumPy would repeat it sample by sample
    length = wave.shape[-1]
    if length == 0:
        raise ValueError("the wave holds no samples")
    if length < samples:
        repeats = [1] * (wave.ndim - 1) + [-(-samples // length)]
        return wave.repeat(repeats)[..., :samples]
    start = (length - samples) // 2
    return wave[..., start : start + samples]


def check_images(images: Tensor) -> None:
    """Refuse anything but images (B, 3, H, W), floats in [0, 1] or uint8.

    Floats may overshoot to `PIXELS`. TypeError for anything but a tensor, ValueError for
    another shape, dtype or range, and for what is not finite. The host waits for a GPU.
    """
    _check_type(images, "images", torch.uint8)
    _check_shape(images)
    _check_range(images, "images", PIXELS, "floats in [0, 1], or uint8")


def _check_shape(images):
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images have shape {tuple(images.shape)}; need (B, 3, H, W)")


def _check_tensor(values, name):
    if not isinstance(values, torch.Tensor):
        raise TypeError(
            f"{name} are a {type(values).__name__}; need a torch.Tensor: "
            "torch.from_numpy of an array, torch.stack of a list"
        )


def _check_type(values, name, integers):
    _check_tensor(values, name)
    if values.dtype != integers and not values.is_floating_point():
        raise ValueError(f"{name} are {values.dtype}; need floats or {integers}")


def _check_range(values, name, limits, need):
    """Of floats; integers of the right dtype cannot be out of range."""
    if not values.is_floating_point() or not values.numel():
        return
    low, high = torch.stack(torch.aminmax(values)).tolist()  # one wait for a GPU
    if not math.isfinite(high - low):
        raise ValueError(f"{name} hold values that are not finite numbers; need {need}")
    if low < limits[0] or high > limits[1]:
        raise ValueError(f"{name} run from {low:.6g} to {high:.6g}; need {need}")


@lru_cache
def _mel(config, device):
    with warnings.catch_warnings():
        # 257 bands on 257 bins leave some empty: the release's choice
        warnings.filterwarnings("ignore", message="At least one mel filterbank")
        return torchaudio.transforms.MelSpectrogram(
            config.sample_rate,
            n_fft=config.n_fft,
            hop_length=config.hop,
            n_mels=config.n_mels,
            f_max=config.f_max,
            power=2,
            normalized=config.normalized,
        ).to(device)


def spectrogram(waves: Tensor, config: AudioConfig = LAPTOP_AUDIO) -> Tensor:
    """Waves (B, samples), float in [-1, 1] or int16, to (B, 1, n_mels, frames).

    Floats may overshoot to `SAMPLES`. TypeError for anything but a tensor, ValueError
    for another shape, length, dtype or range, and for samples that are not finite.
    """
    _check_type(waves, "waves", torch.int16)
    if waves.ndim != 2 or waves.shape[1] != config.samples:
        raise ValueError(
            f"waves have shape {tuple(waves.shape)}; need (B, {config.samples}): "
            f"{config.seconds:g} s at {config.sample_rate} Hz (see fit_length)"
        )
    _check_range(waves, "waves", SAMPLES, "floats in [-1, 1], or int16")
    if waves.dtype == torch.int16:
        waves = waves / 32768
    power = _mel(config, waves.device)(waves.float())[..., : config.frames]
    decibels = 10 * power.clamp(min=1e-10).log10()
    scaled = (decibels - config.floor) / config.span
    return (scaled.clamp(min=0) if config.clip else scaled)[:, None]


def normalise(images: Tensor) -> Tensor:
    """Images (B, 3, H, W) in [0, 1] or uint8 to the model's input range, as float32.

    ValueError for another shape or dtype. The range is not checked, since training would
    wait for the GPU in every step; `SoundLocaliser.fit`, and so `predict`, checks it.
    """
    _check_type(images, "images", torch.uint8)
    _check_shape(images)
    images = images / 255 if images.dtype == torch.uint8 else images.float()
    mean = torch.tensor(MEAN, device=images.device)[:, None, None]
    std = torch.tensor(STD, device=images.device)[:, None, None]
    return (images - mean) / std
