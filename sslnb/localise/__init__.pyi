from . import footage as footage
from . import intervals as intervals
from . import listening as listening
from . import maps as maps
from . import metrics as metrics
from . import negatives as negatives
from . import protocols as protocols
from . import report as report
from . import respond as respond
from . import text as text
from . import video as video
from .listening import (
    Listening as Listening,
)
from .listening import (
    listening_test as listening_test,
)
from .metrics import (
    HALF as HALF,
)
from .metrics import (
    PROTOCOL as PROTOCOL,
)
from .metrics import (
    SIZE as SIZE,
)
from .metrics import (
    as_truth as as_truth,
)
from .metrics import (
    baselines as baselines,
)
from .metrics import (
    boxes_to_truth as boxes_to_truth,
)
from .metrics import (
    centre_prior as centre_prior,
)
from .metrics import (
    ciou as ciou,
)
from .metrics import (
    mask_ciou as mask_ciou,
)
from .metrics import (
    median_mask as median_mask,
)
from .metrics import (
    oracle as oracle,
)
from .metrics import (
    peak_hit as peak_hit,
)
from .metrics import (
    resize as resize,
)
from .metrics import (
    respond_to as respond_to,
)
from .metrics import (
    score as score,
)
from .metrics import (
    summarise as summarise,
)
from .metrics import (
    truth_of as truth_of,
)
