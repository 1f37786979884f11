"""`sslnb`, whose grid validates and measures on few clips; its workers import this too."""

import sys
from functools import partial

from sslnb.cli import main
from sslnb.experiments import measure, run

measure.HALVES = 12
run.load_training = partial(run.load_training, val_clips=8)

if __name__ == "__main__":
    sys.exit(main())
