"""cIoU, AUC and the pointing game (notebook 06; section 4.2).

    >>> truth = boxes_to_truth([(0.1, 0.2, 0.6, 0.9)])[None]   # (1, 224, 224)
    >>> summarise(ciou(responses, truth))                      # {"cIoU": …, "AUC": …}

The protocol is that of LVS and of the paper's released code; every choice that
moves its numbers is spelled out in PROTOCOL, which is printed beside scores.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from sslnb.data.clips import Clips
from sslnb.data.field.annotations import SIZE, boxes_to_truth, refuse_reversed
from sslnb.data.media import fit_length
from sslnb.model import SoundLocaliser

HALF = SIZE * SIZE // 2
PROTOCOL = """\
maps      resized to 224 × 224 (bilinear, align_corners=False), min-max normalised
mask      p > t, t = the map's own median, sort(p)[224·224/2]: half of the image
truth     boxes as int(224·x), rows and columns half open, united; or the visible mask
cIoU_n    Σ M·g / (Σ g + Σ M·[g = 0])
cIoU      success rate: fraction of clips with cIoU_n ≥ 0.5
AUC       area under the success rate at thresholds 0, 0.05, … 1
pointing  pointing game: fraction of maps whose maximum lies inside the boxes
peak      the same, inside the visible pixels of the object: stricter"""


def as_truth(truth: Tensor, count: int, device: torch.device) -> Tensor:
    """Weights of the ground truth (count, 224, 224) as float32; ValueError for any other."""
    truth = torch.as_tensor(truth)
    if truth.shape != (count, SIZE, SIZE):
        raise ValueError(
            f"truth has shape {tuple(truth.shape)}; need {(count, SIZE, SIZE)}"
        )
    truth = truth.to(device, torch.float32)
    low, high = truth.aminmax()
    if not (low >= 0 and high <= 1):  # also where it is NaN
        raise ValueError(f"truth holds weights from {low:g} to {high:g}; need 0 to 1")
    return truth


def resize(responses: Tensor) -> Tensor:
    """Maps (N, h, w) to (N, 224, 224), min-max normalised to [0, 1].

    A constant map points nowhere: it becomes all zeros, and its mask is empty.
    ValueError for another shape and for a map that is not finite.
    """
    responses = torch.as_tensor(responses)
    if responses.ndim != 3 or 0 in responses.shape:
        raise ValueError(
            f"responses have shape {tuple(responses.shape)}; need (N, h, w), N ≥ 1"
        )
    if responses.dtype != torch.float64:  # whose offset may be large
        responses = responses.float()
    bad = ~responses.flatten(1).isfinite().all(1)
    if bad.any():
        raise ValueError(
            f"map {bad.nonzero()[0].item()} holds values that are not finite"
        )
    low, high = responses.aminmax(dim=1, keepdim=True)
    low, high = low.amin(2, keepdim=True), high.amax(2, keepdim=True)
    responses = ((responses - low) / (high - low).clamp(min=1e-12)).float()
    p = F.interpolate(responses[:, None], (SIZE, SIZE), mode="bilinear")[:, 0]
    low, high = p.amin((1, 2), keepdim=True), p.amax((1, 2), keepdim=True)
    return (p - low) / (high - low).clamp(min=1e-12)


def median_mask(responses: Tensor) -> Tensor:
    """Masks (N, 224, 224) of maps (N, h, w): pixels above the map's own median."""
    p = resize(responses)
    threshold = p.flatten(1).kthvalue(HALF + 1).values  # sort(p)[HALF]
    return p > threshold[:, None, None]


def ciou(responses: Tensor, truth: Tensor) -> Tensor:
    """Consensus IoU (N,) of maps (N, h, w) against weights (N, 224, 224) in [0, 1].

        cIoU_n = Σ M·g / (Σ g + Σ M·[g = 0])

    A weight below 1 marks a pixel on which annotators disagree; it counts by its
    weight in both sums. A clip without ground truth scores 0. ValueError where the shapes
    do not fit, and for weights outside of [0, 1].
    """
    return mask_ciou(median_mask(responses), truth)


def mask_ciou(mask: Tensor, truth: Tensor) -> Tensor:
    """cIoU (N,) of boolean masks (N, 224, 224), however they were thresholded."""
    truth = as_truth(truth, len(mask), mask.device)
    inside = (mask * truth).sum((1, 2))
    outside = (mask & (truth == 0)).sum((1, 2))
    union = truth.sum((1, 2)) + outside
    return inside / union.clamp(min=1e-6)  # an empty mask on an empty truth scores 0


def oracle(truth: Tensor) -> Tensor:
    """The upper bound (N,): the best cIoU of any mask that covers half of the image.

    truth (N, 224, 224): ground-truth weights in [0, 1].
    """
    weights = torch.as_tensor(truth).float().flatten(1).sort(1, descending=True).values
    inside = weights[:, : HALF - 1].sum(1)  # p > sort(p)[HALF] keeps HALF - 1 pixels
    outside = (weights[:, : HALF - 1] == 0).sum(1)
    return inside / (weights.sum(1) + outside)


def centre_prior(count: int = 1) -> Tensor:
    """Maps (count, 224, 224) that fall off from the centre: a baseline without a model."""
    axis = torch.arange(SIZE) - (SIZE - 1) / 2
    return -(axis[:, None].square() + axis.square()).sqrt().expand(count, SIZE, SIZE)


def peak_hit(responses: Tensor, truth: Tensor) -> Tensor:
    """The pointing game: does the map's maximum lie in the ground truth? (N,) of bool.

    A constant map has no peak, and hits nothing.
    """
    height, peak = resize(responses).flatten(1).max(1)
    truth = as_truth(truth, len(peak), peak.device).flatten(1)
    return (truth.gather(1, peak[:, None])[:, 0] > 0) & (height > 0)


def summarise(ciou: Tensor) -> dict[str, float]:
    """cIoU of clips (N,) to {"cIoU": success rate at 0.5, "AUC": …}, fractions."""
    ciou = torch.as_tensor(ciou) * 1.0  # whole numbers become floats
    if ciou.ndim != 1 or len(ciou) == 0:
        raise ValueError(f"cIoU has shape {tuple(ciou.shape)}; need (N,), N ≥ 1")
    if not ciou.isfinite().all():
        raise ValueError("cIoU holds values that are not finite")
    # k / 20 and not k · 0.05, which exceeds the float next to 0.45, 0.65 and 0.9
    thresholds = torch.arange(21, device=ciou.device, dtype=torch.float64) / 20
    thresholds = thresholds.to(ciou.dtype)
    success = (ciou[:, None] >= thresholds).double().mean(0)
    return {
        "cIoU": (ciou >= 0.5).double().mean().item(),
        "AUC": torch.trapezoid(success, dx=0.05).item(),
    }


def truth_of(clips: Clips) -> Tensor:
    """Ground truth (N, 224, 224) of Clips: the union of each clip's boxes.

    ValueError where the boxes of a clip are not known.
    """
    known = [boxes for boxes in clips.boxes if boxes is not None]
    unknown = [n for n, boxes in zip(clips.names, clips.boxes) if boxes is None]
    if unknown:
        raise ValueError(
            f"{len(unknown)} clips have no boxes to score against, "
            f"{unknown[0]} for instance"
        )
    refuse_reversed(dict(zip(clips.names, known)), "the clips")
    return torch.stack([boxes_to_truth(boxes) for boxes in known])


def respond_to(model: SoundLocaliser, clips: Clips, batch: int = 64) -> Tensor:
    """Response maps (N, h, w) of a model for Clips, each image with its own sound.

    Sounds become as long as the model's (media.fit_length). Maps are computed where
    the model is, and come back to the clips' device.
    """
    device, samples = next(model.parameters()).device, model.config.audio.samples
    maps = []
    for images, waves in zip(clips.images.split(batch), clips.waves.split(batch)):
        waves = fit_length(waves.to(device), samples)
        maps.append(model.predict(images.to(device), waves).to(clips.images.device))
    return torch.cat(maps)


def score(responses: Tensor, clips: Clips) -> dict[str, float]:
    """{"cIoU", "AUC", "pointing", "peak"}, fractions; all but "peak" by boxes.

    "peak" is left out where the clips have no masks.
    """
    truth = truth_of(clips)
    scores = {
        **summarise(ciou(responses, truth)),
        "pointing": peak_hit(responses, truth).double().mean().item(),
    }
    if clips.masks is not None:
        scores["peak"] = peak_hit(responses, clips.masks).double().mean().item()
    return scores


def baselines(clips: Clips) -> dict[str, dict[str, float]]:
    """Scores to put beside every model's: of the centre prior, and the oracle bound."""
    return {
        "centre prior": score(centre_prior(len(clips)), clips),
        "oracle": summarise(oracle(truth_of(clips))),
    }
