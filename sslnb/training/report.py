"""What an epoch reports: mean losses, seconds, and where an error arose.

>>> with EpochReport(config, epoch, steps, feed) as report:
...     for index, images, spectrograms, other in feed.batches(steps):
...         report.begin_step(index)
...         report.add(loss, terms, batch)
...         report.end_step()
>>> report.means()                     # {"epoch": 1, "loss": …, "contrastive": …}
"""

import time

from torch import Tensor

from sslnb.training import parallel
from sslnb.training.feed import Feed
from sslnb.training.recipe import TrainConfig


class EpochReport:
    """A context: errors inside say at which step, on which clips, under what settings.

    epoch counts from 0; steps: how many steps an epoch has; feed: where clips come from.
    """

    def __init__(self, config: TrainConfig, epoch: int, steps: int, feed: Feed):
        self.config, self.epoch, self.feed = config, epoch, feed
        self.step = epoch * steps  # over the whole run
        self.index: Tensor | tuple = ()
        self.sums: dict[str, Tensor] = {}
        self.clips = 0
        self.started = time.perf_counter()
        self.trained = 0.0

    def begin_step(self, index: Tensor) -> None:
        """A step on the clips `index` begins."""
        self.index = index

    def end_step(self) -> None:
        """It is done, and no clips are to blame until the next one begins."""
        self.step, self.index = self.step + 1, ()

    def add(self, loss: Tensor, terms: dict[str, Tensor], batch: int) -> None:
        """Add a step's loss and terms, scalars of one process, over `batch` clips in all.

        FloatingPointError where the loss is not finite: before the backward pass, which a
        GPU then begins without waiting.
        """
        for name, term in {"loss": loss.detach(), **terms}.items():
            mean = parallel.all_sum(term) / parallel.world_size()
            if name == "loss" and not mean.isfinite():
                raise FloatingPointError(f"the loss is {mean.item()}")
            self.sums[name] = self.sums.get(name, 0) + mean * batch
        self.clips += batch

    def means(self) -> dict:
        """{"epoch": from 1, "loss", …}: means over the clips; training ends here."""
        self.trained = time.perf_counter() - self.started
        means = {name: (sum_ / self.clips).item() for name, sum_ in self.sums.items()}
        return {"epoch": self.epoch + 1, **means}

    def seconds(self) -> dict:
        """Seconds so far, and the share of the training that waited for clips."""
        return {
            "seconds": time.perf_counter() - self.started,
            "waiting": self.feed.waited / self.trained,
        }

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        kinds = (FloatingPointError, OSError, RuntimeError)
        found = next((kind for kind in kinds if isinstance(error, kind)), None)
        if found is None:
            return
        clips = ", ".join(self.feed.names[i] for i in self.index)
        where = f"clips {clips}" if clips else "between two batches"
        right = "fix the cause, then resume"
        if found is FloatingPointError:
            right = "lower --learning-rate (rate in notebook 05), and train anew"
        raise found(
            f"{error}; at step {self.step}, epoch {self.epoch + 1}; {where}; "
            f"{self.config}. The last complete state is intact: {right}"
        ) from error
