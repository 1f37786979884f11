from . import arrays as arrays
from . import clips as clips
from . import packing as packing
from .clips import is_complete as is_complete
from .clips import open_store as open_store
from .clips import pack as pack
from .clips import pack_scenes as pack_scenes
from .clips import verify as verify
