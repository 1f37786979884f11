"""The widgets, a file each, in the order of the notebooks.

    >>> pseudo_masks(image, response)

scene      a scene composed by choice, and its ground truth (01)
augment    every transform on a slider (02)
masks      ε and τ of a pseudo-mask (03)
transform  an image rotated, scaled and flipped, and its maps (04)
epochs     a run's maps and curves, epoch by epoch (05)
heat       any image with any sound (06)
video      a heatmap over a video of your own (06)
neighbours a query, and what lies nearest to it (07)

Each returns a box with its `controls` by name, so that a test can move them without a
browser.
"""

from sslnb.teach.widgets.augment import augmentations
from sslnb.teach.widgets.epochs import epochs
from sslnb.teach.widgets.heat import heatmaps
from sslnb.teach.widgets.masks import pseudo_masks
from sslnb.teach.widgets.neighbours import nearest
from sslnb.teach.widgets.scene import scene_builder
from sslnb.teach.widgets.transform import equivariance
from sslnb.teach.widgets.video import video_picker

__all__ = [
    "augmentations",
    "epochs",
    "equivariance",
    "heatmaps",
    "nearest",
    "pseudo_masks",
    "scene_builder",
    "video_picker",
]
