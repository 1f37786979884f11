"""One training step: two views, one sound, equation 11 (notebook 05; section 3.3.3).

    >>> views = two_views(config, images, spectrograms, generator)
    >>> loss, terms = total_loss(Branches(model), config, views)
    >>> loss.backward()

Everything random is drawn for the whole batch, then each process takes its slice,
so that a step is the same however many processes there are.
"""

from itertools import cycle
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslnb import augment
from sslnb.data.media import normalise
from sslnb.losses import attention_loss, contrastive_loss, equivariance_loss
from sslnb.model import PRESETS, SoundLocaliser, respond
from sslnb.training import parallel, released
from sslnb.training.recipe import TrainConfig, scaled


class Views(NamedTuple):
    """What the two branches are given (figure 2), of this process's b clips.

    images: normalised (b, 3, S, S), one for each branch; spectrograms (b, 1, F, T), the
    same. Where both branches are given the same, there is one. theta (b, 2, 3): T_geo
    from image 1 to image 2, None where they are aligned. batch: clips of the whole batch.
    """

    images: tuple[Tensor, ...]
    spectrograms: tuple[Tensor, ...]
    theta: Tensor | None
    batch: int


class Branches(nn.Module):
    """Both branches' encoders in one forward pass, as DistributedDataParallel wants it.

    precision: "bf16" or "fp32", of the encoders.
    """

    def __init__(self, model: SoundLocaliser, precision: str = "bf16"):
        super().__init__()
        self.model = model
        self.precision = precision

    def forward(self, images, spectrograms):
        """Tuples of one or two (b, 3, S, S) and (b, 1, F, T), to lists of v and a."""
        return (
            [self._encode(self.model.embed_image, x) for x in images],
            [self._encode(self.model.embed_audio, x) for x in spectrograms],
        )

    def _encode(self, encoder, x):
        x = x.contiguous(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, torch.bfloat16, self.precision == "bf16"):
            return encoder(x)


def compile_encoders(model: SoundLocaliser) -> None:
    """Compile both encoders by torch.compile, in place, each as one graph."""
    for network in (model.image_encoder, model.audio_encoder):
        # their own .compile() would compile every block of a Sequential for itself
        compiled = torch.compile(network.forward, dynamic=False)
        network.forward = compiled  # type: ignore[method-assign]


def local(draw, batch: int):
    """This process's slice of what was drawn for a whole batch."""
    if isinstance(draw, dict):
        return {name: local(value, batch) for name, value in draw.items()}
    return draw[parallel.local_slice(batch)]


def at_model_size(config: TrainConfig, images: Tensor, generator, batch: int) -> Tensor:
    """Images (b, 3, S', S'), uint8, as large as the model's, in [0, 1].

    A random crop, or for the released code's views, which crop it anyway, the whole.
    batch: clips of the whole batch, of which these are this process's.
    """
    size = PRESETS[config.preset].image_size
    if config.views == "release":
        return _resized(images, size) / 255
    return random_crop(images, size, generator, batch) / 255


def random_crop(images: Tensor, size: int, generator, batch: int) -> Tensor:
    """A random crop of size × size pixels of each of images (b, 3, S, S).

    Ours: the paper resizes images to 224² (section 4.1). Crops of 224² of 256² show 77 %
    of an image. Images whose sides are larger than that asks for by more than a third are
    first resized, so that their crops do too.
    """
    larger = round(size * 256 / 224)
    if images.shape[-1] > larger * 4 / 3:
        images = _resized(images, larger)
    corners = augment.draw_crops(batch, images.shape[-1], size, generator)
    return augment.crop(images, local(corners, batch), size)


def _resized(images, size):
    if images.shape[-1] == size:
        return images
    return F.interpolate(images.float(), (size, size), mode="bilinear", antialias=True)


def two_images(config: TrainConfig, images, generator, strength=1.0, batch=None):
    """Two views of images (b, 3, S, S) in [0, 1], and the theta between them.

    View 1 has T_app; view 2 its own T_app, and T_geo is still to be applied to it
    (figure 2). A model without T_app has one view, seen twice; theta is None where the
    two are aligned. batch: clips of the whole batch, of which these are this process's.
    """
    batch, size = batch or len(images), images.shape[-1]
    appearance = scaled(augment.Appearance.for_size(size), strength)
    geometric = augment.Geometric(
        crop=config.crop, scale_p=config.scale_p, rotation=config.rotation
    )
    if "app" not in config.parts:
        return images, images, None
    view_1, view_2 = (
        augment.apply_appearance(
            images, local(appearance.draw(batch, generator), batch)
        )
        for _ in range(2)
    )
    if "geo" not in config.parts:
        return view_1, view_2, None
    return view_1, view_2, local(geometric.draw(batch, generator), batch)


def masked_spectrograms(
    config: TrainConfig, spectrograms, generator, strength=1.0, batch=None
):
    """What each branch hears, (b, 1, F, T): one T_mask for both branches, or one each."""
    if "mask" not in config.parts:
        return (spectrograms,)
    batch, mask = batch or len(spectrograms), scaled(augment.Mask(), strength)
    silence = PRESETS[config.preset].audio.silence
    draws = [mask.draw(batch, generator) for _ in range(1 + config.separate_masks)]
    return tuple(
        augment.apply_mask(spectrograms, local(draw, batch), silence) for draw in draws
    )


def two_views(
    config: TrainConfig, images, spectrograms, generator, strength=1.0, batch=None
) -> Views:
    """The inputs of both branches, of images (b, 3, S, S) in [0, 1] and (b, 1, F, T).

    strength: how frequent T_app and T_mask are, in [0, 1] of their probabilities.
    batch: clips of the whole batch, of which these are this process's.
    """
    batch = batch or len(images)
    if config.views == "release":
        silence = PRESETS[config.preset].audio.silence
        return Views(
            *released.views(images, spectrograms, silence, generator, batch, local),
            batch,
        )
    spectrograms = masked_spectrograms(config, spectrograms, generator, strength, batch)
    view_1, view_2, theta = two_images(config, images, generator, strength, batch)
    if view_2 is view_1 and len(spectrograms) == 1:  # both branches compute one thing
        return Views((normalise(view_1),), spectrograms, None, batch)
    view_1, view_2 = normalise(view_1), normalise(view_2)
    view_2 = view_2 if theta is None else augment.warp(view_2, theta)
    return Views((view_1, view_2), spectrograms, theta, batch)


def total_loss(branches: nn.Module, config: TrainConfig, views: Views):
    """L = L_1 + L_2 + λ_geo L_geo, equation 11, and its terms (detached) by name.

    Where both branches hear the same masked spectrogram, as in the released code, it is
    encoded once. The mean of the loss over all processes is that of the whole batch.
    """
    v, a = branches(views.images, views.spectrograms)  # (b, C, h, w), (b, C)
    batch, b, device = views.batch, len(v[0]), v[0].device
    own = torch.arange(batch, device=device)[parallel.local_slice(batch)]
    sounds = [parallel.gather(sound, batch) for sound in a]  # (B, C), one or two
    losses, responses = [], []
    for features, sound in zip(v, cycle(sounds)):
        similarity = respond(features, sound)  # (b, B, h, w), eq. 3
        loss = paired_loss(config, similarity, own)
        # the slices of a batch may differ by one clip
        losses.append(loss * (b * parallel.world_size() / batch))
        responses.append(similarity[torch.arange(b, device=device), own])  # (b, h, w)

    loss = losses[0] + losses[-1]
    terms = {"contrastive": sum(losses[1:], losses[0]).detach() / len(losses)}
    if "equivariance" in config.parts:
        assert views.theta is not None  # no model has this loss without T_geo
        geo = consistency_loss(config, responses, views.theta, batch)  # eq. 10
        loss = loss + config.geo_weight * geo
        terms["equivariance"] = geo.detach()
    return loss, terms


def paired_loss(config: TrainConfig, similarity: Tensor, own: Tensor | None = None):
    """The loss of one branch over all pairs (b, B, h, w), in the configuration's form.

    own (b,): the column of each row's own sound, where processes share the batch.
    Without it, the batch is this process's alone, and no other need take part.
    """
    if config.form == "attention":
        return attention_loss(similarity, config.temperature, own)
    shared: dict[str, Any] = {}
    if own is not None:
        shared = {"own": own, "all_sum": parallel.all_sum}
    return contrastive_loss(
        similarity,
        config.form,
        config.epsilon,
        config.epsilon_negative,
        config.tau,
        config.temperature,
        **shared,
    )


def consistency_loss(
    config: TrainConfig, responses, theta: Tensor, batch: int
) -> Tensor:
    """L_geo of maps (b, h, w) of both branches, as the configuration wants it: eq. 10.

    batch: clips of the whole batch, of which these are this process's.
    """
    response_1, response_2 = responses
    if config.views == "release":
        size = PRESETS[config.preset].image_size
        loss = released.equivariance_loss(response_1, response_2, theta, size)
        return loss * (len(theta) * parallel.world_size() / batch)  # slices may differ
    return equivariance_loss(
        response_1, response_2, theta, parallel.all_sum, config.mask_border
    )
