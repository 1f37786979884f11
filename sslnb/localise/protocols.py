"""The field's evaluation protocols as data, and what they measure on each clip.

    >>> print(PROTOCOLS["lvs"])                     # every choice, in full
    >>> found = measure(maps, truths, PROTOCOLS["lvs"])
    >>> found["ciou"]                               # (N,) float64

Every paper's cIoU is the same formula on masks that are made differently (notebooks 06,
A2): resizing, > or ≥, and the threshold are the fields of a `Protocol`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from sslnb.data.field.annotations import SIZE
from sslnb.localise.metrics import HALF, centre_prior

PIXELS = SIZE * SIZE
TOP_QUARTER = PIXELS // 4  # pixels whose mean is a clip's confidence (SLAVC)
TOLERANCE = 1e-3  # by which a cosine in half precision may leave [−1, 1]


@dataclass(frozen=True)
class Protocol:
    """How a map becomes a mask; `print` it to read every choice.

    interpolation, align_corners: of PyTorch's `interpolate`. threshold: "median", of
    the map itself, or "fixed", (S + 1) / 2 at 0.5. strict: the mask is what lies
    above the threshold; else what equals it belongs to it too. consensus: only for
    ground truth by several annotators.
    """

    name: str
    whose: str
    interpolation: str = "bilinear"
    align_corners: bool = False
    threshold: str = "median"
    strict: bool = True
    consensus: bool = False

    @property
    def half(self) -> int | None:
        """Pixels of a mask where nothing ties, or None where it may have any size."""
        if self.threshold == "fixed":
            return None
        return HALF - 1 if self.strict else HALF  # sort(p)[HALF] itself, or not

    def __str__(self):
        sign = ">" if self.strict else "≥"
        mask = {
            "median": f"p {sign} t, t = the map's own median, sort(p)[{SIZE}·{SIZE}/2]: "
            "half\n            of the image; p = the map, min-max normalised",
            "fixed": f"(S + 1) / 2 {sign} 0.5, S = the map as it is: cosines in [−1, 1]",
        }[self.threshold]
        return f"""\
protocol    {self.name}: {self.whose}
maps        resized to {SIZE} × {SIZE} ({self.interpolation}, \
align_corners={self.align_corners})
mask        {mask}
constant    a constant map points nowhere: its mask is empty, and it scores 0
truth       boxes as int({SIZE}·x), rows and columns half open; of one annotator united,
            of several g = min(Σ box / 2, 1){": needed here" if self.consensus else ""}
cIoU_n      Σ M·g / (Σ g + Σ M·[g = 0]); a clip without ground truth scores 0
cIoU        success rate: fraction of clips with cIoU_n ≥ 0.5
AUC         area under the success rate at thresholds 0, 0.05, … 1
adaptive    the same two where the mask is p ≥ sort(p)[{SIZE}·{SIZE} − n], n = pixels with
            g > 0: it knows the object's size
pointing    pointing game: fraction of maps whose (first) maximum lies at g > 0
mean IoU    mean of cIoU_n"""


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("lvs", "LVS and the paper's released code"),
        Protocol("ezvsl", "EZ-VSL and FNAC", align_corners=True, strict=False),
        Protocol("slavc", "SLAVC", "bicubic", True, threshold="fixed", strict=False),
        Protocol(
            "flickr",
            "LVS and the paper's released code on Flickr-SoundNet",
            consensus=True,
        ),
    )
}


def enlarge(maps: Sequence[np.ndarray], protocol: Protocol):
    """Resize N maps, of any (h, w) each: (p (N, 224·224) float32, low (N,), span (N,)).

    Where the threshold is the map's own, p is normalised first, in double precision:
    S = low + span · p, with low and span (N,). Resizing commutes with that. Where the
    threshold is fixed, p is S itself, low 0 and span 1.
    """
    maps = [np.asarray(values, np.float64) for values in maps]
    low, span = np.zeros(len(maps)), np.ones(len(maps))
    if protocol.threshold == "median":
        low = np.array([values.min() for values in maps])
        span = np.array([values.max() for values in maps]) - low
        span[span == 0] = 1
    small = [
        ((values - a) / b).astype(np.float32) for values, a, b in zip(maps, low, span)
    ]
    p = np.empty((len(maps), SIZE, SIZE), np.float32)
    for shape in {values.shape for values in small}:
        where = [i for i, values in enumerate(small) if values.shape == shape]
        stack = torch.from_numpy(np.stack([small[i] for i in where]))[:, None]
        p[where] = F.interpolate(
            stack,
            (SIZE, SIZE),
            mode=protocol.interpolation,
            align_corners=protocol.align_corners,
        )[:, 0].numpy()
    return p.reshape(len(maps), PIXELS), low, span


def overlap_with(truth: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """A function from boolean masks (N, P) to their cIoU (N,) with weights (N, P).

    Weights are 0, ½ or 1. Sums of up to 50,176 halves are exact in single precision, in
    whatever order.
    """
    total = truth.sum(1, dtype=np.float64)
    empty = (truth == 0).astype(np.float32)

    def ciou(mask):
        mask = mask.astype(np.float32)
        inside = np.einsum("np,np->n", mask, truth)
        outside = np.einsum("np,np->n", mask, empty)
        # at least ½: an empty mask without ground truth scores 0
        return inside / np.maximum(total + outside, 0.5)

    return ciou


def best(truth: np.ndarray, pixels: int) -> np.ndarray:
    """Best cIoU (N,) of any mask of so many pixels: `metrics.oracle`, by counting."""
    full, half = (truth == 1).sum(1), (truth == 0.5).sum(1)
    from_full = np.minimum(full, pixels)
    from_half = np.minimum(half, pixels - from_full)
    outside = pixels - from_full - from_half
    return (from_full + 0.5 * from_half) / (full + 0.5 * half + outside)


def exceeds(p: np.ndarray, threshold: np.ndarray, strict: bool) -> np.ndarray:
    """Masks (N, P) where p exceeds thresholds (N,), or unless strict equals them."""
    threshold = threshold.astype(np.float32)[:, None]
    return p > threshold if strict else p >= threshold


def measure(
    maps: Sequence[np.ndarray], truth: np.ndarray, protocol: Protocol
) -> dict[str, np.ndarray]:
    """What a protocol measures on N clips: a dict of arrays (N,).

    maps: N finite arrays of any (h, w); truth (N, 224, 224) of weights 0, ½ or 1.
    ciou, adaptive, pointing: of the map; the same with centre_ before it: of the centre
    prior; oracle: of the best mask of half the image (NaN where the threshold is
    fixed). size: Σ g, and covered: the mask, as fractions of the image.
    median and confidence (mean of the top quarter of (S + 1) / 2) are in units of the
    maps; low and high are their range, equal for a constant map.
    """
    truth = np.ascontiguousarray(truth, np.float32).reshape(len(truth), PIXELS)
    ciou = overlap_with(truth)
    marked = np.count_nonzero(truth, axis=1)
    rank = np.minimum(PIXELS - marked, PIXELS - 1)  # none marked: any scores 0
    p, low, span = enlarge(maps, protocol)
    places = [(HALF, PIXELS - TOP_QUARTER, k) for k in rank]
    ranked = np.stack([np.partition(row, k) for row, k in zip(p, places)])
    ends = np.array([(np.min(values), np.max(values)) for values in maps], np.float64)
    lively = (ends[:, 1] > ends[:, 0])[:, None]
    if protocol.threshold == "median":
        mask = exceeds(p, ranked[:, HALF], protocol.strict)
    else:
        mask = exceeds((p + 1) / 2, np.full(len(p), 0.5), protocol.strict)
    mask &= lively
    adaptive = exceeds(p, ranked[np.arange(len(p)), rank], strict=False) & lively
    centre = centre_prior()[0].numpy().reshape(1, PIXELS)
    order = np.sort(centre[0])
    half = exceeds(centre, order[[HALF]], protocol.strict)
    top = ranked[:, PIXELS - TOP_QUARTER :].mean(1, dtype=np.float64)
    pixels = protocol.half
    oracle = np.full(len(p), np.nan) if pixels is None else best(truth, pixels)
    return {
        "ciou": ciou(mask),
        "adaptive": ciou(adaptive),
        "pointing": (truth[np.arange(len(p)), p.argmax(1)] > 0) & lively[:, 0],
        "centre_ciou": ciou(np.broadcast_to(half, p.shape)),
        "centre_adaptive": ciou(exceeds(centre, order[rank], strict=False)),
        "centre_pointing": truth[:, centre.argmax()] > 0,
        "oracle": oracle,
        "size": truth.sum(1, dtype=np.float64) / PIXELS,
        "covered": np.count_nonzero(mask, axis=1) / PIXELS,
        "median": low + span * ranked[:, HALF],
        "confidence": (low + span * top + 1) / 2,
        "low": ends[:, 0],
        "high": ends[:, 1],
    }


def activated(maps: Sequence[np.ndarray], threshold: float, protocol: Protocol):
    """For maps without any ground truth: (pIA, confidence, low, high), each (N,).

    pIA: fraction of the image where the resized map lies above a threshold in units of
    the maps, one for all clips (negative audio: silence, noise, sounds from off screen).
    """
    p, low, span = enlarge(maps, protocol)
    top = np.partition(p, PIXELS - TOP_QUARTER, axis=1)[:, PIXELS - TOP_QUARTER :]
    mask = exceeds(p, (threshold - low) / span, strict=True)
    ends = np.array([(np.min(values), np.max(values)) for values in maps], np.float64)
    confidence = (low + span * top.mean(1, dtype=np.float64) + 1) / 2
    return np.count_nonzero(mask, axis=1) / PIXELS, confidence, ends[:, 0], ends[:, 1]


def in_range(values: np.ndarray, protocol: Protocol) -> bool:
    """Whether a map can be thresholded: any by its median, cosines alone where fixed."""
    return protocol.threshold == "median" or np.abs(values).max() <= 1 + TOLERANCE
