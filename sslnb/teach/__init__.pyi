from . import augment_widget as augment_widget
from . import exercises as exercises
from . import invariance as invariance
from . import plot as plot
from . import retrieval as retrieval
from . import video_widget as video_widget
from . import widgets as widgets
from .exercises import check as check
