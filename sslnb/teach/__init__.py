"""What only the notebooks use: figures, widgets and exercises.

    plot            figures
    exercises       checks that say what is wrong with an answer
    widgets         pseudo-masks, equivariance and heatmaps to play with
    augment_widget  the augmentations to play with
    video_widget    a heatmap over a video of the reader's
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
