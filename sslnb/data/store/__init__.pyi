from . import arrays as arrays
from . import clips as clips
from . import packing as packing
from .clips import is_whole as is_whole
from .clips import open_store as open_store
from .clips import pack as pack
from .clips import pack_scenes as pack_scenes
from .clips import verify as verify
