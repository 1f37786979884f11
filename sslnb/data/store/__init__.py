"""Clips packed on disk: opened at once, whatever their number (notebook A1).

clips    stores of clips and of scenes
packing  rows into arrays: parallel, resumable, complete or absent
arrays   arrays larger than memory, with checksums
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
