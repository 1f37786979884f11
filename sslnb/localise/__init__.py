"""Where the sound is, and how well that was found (notebook 06; section 4.2).

    metrics    cIoU, AUC and pointing game: response maps against the ground truth
    protocols  what evaluation scripts do, each by name
    maps       .npz files of maps
    intervals  the bootstrap over clips, or over photographs and recordings
    negatives  false positives where nothing sounds
    listening  the same images with other sounds: does the model listen?
    text       the report as printed
    report     anybody's maps against published annotations, under a named protocol
    respond    a model's maps for a folder of clips
    footage    a video as frames, each with the sound around it
    video      a heatmap over it

The commands: `sslnb score` (report), `sslnb maps` (respond), `sslnb video` (video).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
