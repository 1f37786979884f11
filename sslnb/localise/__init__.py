"""Where the sound is, and how well that was found (notebook 06; section 4.2).

    metrics    cIoU, AUC and peaks of response maps against the truth
    protocols  what evaluation scripts do, each by name
    maps       .npz files of maps
    intervals  the bootstrap over clips
    text       the report as printed
    report     anybody's maps against published annotations, under a named protocol
    respond    a model's maps for a folder of clips
    footage    a video as frames, each with the sound around it
    video      a heatmap over it

The commands of `python -m sslnb.localise` are score (report), maps (respond), video.
"""

from sslnb.localise.metrics import (
    HALF,
    PROTOCOL,
    SIZE,
    as_truth,
    baselines,
    boxes_to_truth,
    ceiling,
    centred_disc,
    ciou,
    mask_ciou,
    median_mask,
    peak_hit,
    resize,
    respond_to,
    score,
    summarise,
    truth_of,
)

__all__ = [
    "HALF", "PROTOCOL", "SIZE", "as_truth", "baselines", "boxes_to_truth", "ceiling",
    "centred_disc", "ciou", "mask_ciou", "median_mask", "peak_hit", "resize",
    "respond_to", "score", "summarise", "truth_of",
]
