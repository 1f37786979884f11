"""The field's own data: VGGSound, VGG-SS, Flickr-SoundNet (notebook A1).

annotations  ground-truth boxes, as their authors publish them
lists        lists of clips, and the names in them
walk         folders of any depth, with what links lead to
layouts      folders of clips, as each codebase keeps them
prepare      a folder of videos to a folder of clips
download     where lists and annotations are published
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
