"""Clips: images and sounds as tensors (notebook 01).

media        images and sounds from files, spectrograms
decode       a video's centre frame and its sound
stamps       files of the embedded benchmark, and what may be in which split
soundstamps  the embedded benchmark, composed scene by scene
clips        clips as tensors; leaks between lists of clips
field        the field's own data: annotations, lists, layouts, videos to clips
store        clips packed on disk
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
