"""Figures of the notebooks, a file for each.

Functions that are given axes draw on them; the others return a Figure. Only `show` and
`show_photos` display one.

    >>> figure = plot.scenes(list_of_scenes, their_splits)
    >>> plot.show(figure, alt="Eight scenes with the box of what sounds")
"""

from sslnb.teach.plot.augmentations import (
    augmented,
    chequer,
    image_grid,
    image_rows,
    out_of_frame,
    panels,
    partners,
    show_frame,
    show_turned_frame,
    spectrograms,
    three_fills,
    through_frames,
    two_branches,
)
from sslnb.teach.plot.base import (
    BLACK,
    BLUE,
    GREEN,
    MAP,
    ORANGE,
    PALETTE,
    PINK,
    RED,
    SIGNED,
    SKY,
    YELLOW,
    Array,
    drawn,
    freeze_layout,
    grid,
    image_row,
    png,
    show,
    show_heatmap,
    show_image,
    show_map,
    show_overlap,
    show_photos,
    show_spectrogram,
    table,
    to_pixels,
)
from sslnb.teach.plot.data import (
    against_chance,
    by_settings,
    centres,
    clip,
    close_ups,
    colored,
    cutouts,
    ground_truth,
    mel_scale,
    on_grey,
    over_time,
    scenes,
    sizes,
)
from sslnb.teach.plot.equivariance import (
    collapse,
    denormalise,
    error_sweeps,
    gradient_steps,
    map_pairs,
    receptive_fields,
    rotated_maps,
    seed_scatter,
    two_ways,
    veil,
    what_and_where,
)
from sslnb.teach.plot.evaluation import (
    against_size,
    annotators,
    at_quantiles,
    ciou_steps,
    cropped,
    gains,
    image_sound_map,
    published,
    ranked_maps,
    resized_rows,
    show_peak,
    success_curves,
    threshold_sweep,
    two_sounds,
)
from sslnb.teach.plot.invariance import (
    cell_forces,
    free_maps,
    mask_weights,
    masks,
    pairs,
    pseudo_mask,
    pseudo_masks,
    pull_and_push,
    roles,
    short_training,
    stages,
)
from sslnb.teach.plot.retrieval import (
    longer_lists,
    modality_gap,
    neighbours,
    principal,
    ranked,
    ranked_lists,
    scored_list,
)
from sslnb.teach.plot.training import (
    curves,
    effects,
    heatmap_rows,
    ladder,
    learning,
    one_step,
    schedules,
    shares,
    similarities,
)
