"""One training step: two views, one sound, equation 11 (notebook 05; section 3.3.3).

    >>> loss, parts = loss_of_batch(model, config, images, spectrograms, generator)
    >>> loss.backward()

Everything random is drawn for the whole batch, then each process takes its share,
so that a step is the same however many processes there are.
"""

from itertools import cycle

import torch
from torch import nn

from sslnb import augment
from sslnb.data.media import normalise
from sslnb.losses import contrastive_loss, equivariance_loss
from sslnb.model import SoundLocaliser, respond
from sslnb.training import parallel
from sslnb.training.recipe import scaled


class Branches(nn.Module):
    """Both branches' encoders in one forward pass, as DistributedDataParallel wants it."""

    def __init__(self, model, precision):
        super().__init__()
        self.model = model
        self.precision = precision

    def forward(self, views, sounds):
        """Tuples of one or two (B, 3, H, W) and (B, 1, F, T), to lists of v and a."""
        return (
            [self._encode(self.model.embed_image, view) for view in views],
            [self._encode(self.model.embed_audio, sound) for sound in sounds],
        )

    def _encode(self, encoder, x):
        x = x.contiguous(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, torch.bfloat16, self.precision == "bf16"):
            return encoder(x)


def compile_encoders(model):
    """Compile a SoundLocaliser's encoders by torch.compile, in place, each as one graph."""
    for network in (model.image_encoder, model.audio_encoder):
        # their own .compile() would take every block of a Sequential for itself
        network.forward = torch.compile(network.forward, dynamic=False)


def _mine(draw, batch):
    """This process's share of what was drawn for a whole batch."""
    if isinstance(draw, dict):
        return {name: value[parallel.share(batch)] for name, value in draw.items()}
    return draw[parallel.share(batch)]


def draw_views(config, images, generator, strength=1.0, batch=None):
    """Two views of images (b, 3, S, S) in [0, 1], and the theta between them.

    View 1 has T_app; view 2 its own T_app, then T_geo (figure 2). A model without
    T_app has one view, seen twice; theta is None where the two are aligned. `batch`:
    of how many clips these are this process's share; by default they are all.
    """
    batch, size = batch or len(images), images.shape[-1]
    # the blur of appendix A.1 is meant for pictures of 224 pixels
    appearance = augment.Appearance(sigma=(0.1 * size / 224, 2.0 * size / 224))
    appearance = scaled(appearance, strength)
    geometric = augment.Geometric(crop=config.crop, scale_p=config.scale_p)
    if "app" not in config.parts:
        return images, images, None
    view_1, view_2 = (
        augment.apply_appearance(images, _mine(appearance.draw(batch, generator), batch))
        for _ in range(2)
    )
    if "geo" not in config.parts:
        return view_1, view_2, None
    return view_1, view_2, _mine(geometric.draw(batch, generator), batch)


def mask_sounds(config, spectrograms, generator, strength, batch, silence):
    """What each branch hears: one masked spectrogram for both, or one for each."""
    if "mask" not in config.parts:
        return (spectrograms,)
    mask = scaled(augment.Mask(), strength)
    return tuple(
        augment.apply_mask(spectrograms, _mine(mask.draw(batch, generator), batch), silence)
        for _ in range(2 if config.separate_masks else 1)
    )


def loss_of_batch(model, config, images, spectrograms, generator, strength=1.0,
                  batch=None):
    """Total loss (eq. 11) of images (b, 3, S, S) and spectrograms (b, 1, F, T).

    Returns the scalar and its parts (detached). Where both branches hear the same
    masked spectrogram, as in the released code, it is encoded once. model: a
    SoundLocaliser, or Branches of one. batch: of how many clips these are this
    process's share; the mean of the scalar over all processes is the batch's loss.
    """
    if isinstance(model, SoundLocaliser):
        model = Branches(model, config.precision)
    silence = getattr(model, "module", model).model.config.audio.silence
    batch, b = batch or len(images), len(images)
    sounds = mask_sounds(config, spectrograms, generator, strength, batch, silence)
    view_1, view_2, theta = draw_views(config, images, generator, strength, batch)
    same = view_2 is view_1 and len(sounds) == 1  # both branches compute one thing
    views = [normalise(view_1)]
    if not same:
        view_2 = normalise(view_2)
        views.append(view_2 if theta is None else augment.warp(view_2, theta))
    v, a = model(tuple(views), sounds)

    own = torch.arange(batch, device=images.device)[parallel.share(batch)]
    heard = [parallel.gather(sound, batch) for sound in a]  # (B, C), one or two
    losses, responses = [], []
    for features, sound in zip(v, cycle(heard)):
        similarity = respond(features, sound)  # (b, B, h, w)
        losses.append(contrastive_loss(
            similarity, config.form, config.epsilon, config.epsilon_negative,
            config.tau, config.temperature, own, parallel.total,
        ) * (b * parallel.world() / batch))  # shares of a batch may differ by one
        responses.append(similarity[torch.arange(b, device=own.device), own])  # (b, h, w)

    loss = 2 * losses[0] if same else losses[0] + losses[1]
    parts = {"contrastive": sum(losses).detach() / len(losses)}
    if "equivariance" in config.parts:
        geo = equivariance_loss(*responses, theta, parallel.total)
        loss = loss + config.geo_weight * geo
        parts["equivariance"] = geo.detach()
    return loss, parts
