"""Batches on the device before they are needed (notebook A3).

    >>> feed = Feed(clips, model.config.audio, device)
    >>> for index, images, spectrograms, similar in feed.batches(parts):
    ...     ...
    >>> feed.waited                               # seconds without a batch ready

Clips that fit live on the GPU; others, memory-mapped ones among them, are read ahead
by threads and stream through pinned memory. (DataLoader would read ahead in processes,
which cannot share what a memory map has read.) A CPU reads each batch when its turn
comes.
"""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from sslnb.data.clips import Clips
from sslnb.data.media import AudioConfig, fit_length, spectrogram

AHEAD = 4  # batches that are read before they are needed
ROOM = 0.6  # of the GPU's free memory that clips may take
TABLE = 2**30  # bytes: spectrograms that take less are computed once and kept


class Feed:
    """Images and spectrograms of `data.Clips`, batch by batch, on a device.

    threads: how many read ahead where the clips do not fit on a GPU.
    """

    def __init__(
        self, clips: Clips, audio: AudioConfig, device: torch.device, threads: int = 2
    ):
        self.audio, self.device, self.threads = audio, device, threads
        self.names, self.images, self.waves = clips.names, clips.images, clips.waves
        self.originals = clips.originals
        self.waited = 0.0
        need = sum(x.numel() * x.element_size() for x in (self.images, self.waves))
        if device.type == "cuda" and need < ROOM * torch.cuda.mem_get_info(device)[0]:
            self.images, self.waves = self.images.to(device), self.waves.to(device)
        self.table: Tensor | None = None
        if 4 * len(clips) * audio.n_mels * audio.frames < TABLE:
            self.table = torch.cat(
                [self._spectrogram(waves) for waves in self.waves.split(128)]
            )

    def __len__(self) -> int:
        return len(self.images)

    def _spectrogram(self, waves):
        waves = waves.to(self.device, non_blocking=True)
        return spectrogram(fit_length(waves, self.audio.samples), self.audio)

    def sounds(self, index: Tensor) -> Tensor:
        """Spectrograms (B, 1, F, T) of clips, on the device."""
        if self.table is not None:
            return self.table[index.to(self.table.device)]
        return self._spectrogram(self._rows(self.waves, index))

    def _rows(self, values, index):
        rows = values.index_select(0, index.to(values.device))
        ahead = self.device.type == "cuda" and rows.device.type == "cpu"
        return rows.pin_memory() if ahead else rows

    def _read(self, index, similar):
        """What a thread can prepare: images, and waves where there is no table."""
        others = [] if similar is None else [similar[index]]
        waves = (
            None
            if self.table is not None
            else [self._rows(self.waves, rows) for rows in (index, *others)]
        )
        return index, self._rows(self.images, index), waves, others

    def _finish(self, index, images, waves, others):
        if waves is None:
            sounds = [self.sounds(rows) for rows in (index, *others)]
        else:
            sounds = [self._spectrogram(rows) for rows in waves]
        images = images.to(self.device, non_blocking=True)
        return index, images, sounds[0], sounds[1] if others else None

    def batches(
        self, parts: Sequence[Tensor], similar: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor | None]]:
        """For each index tensor of `parts`: (index, images (B, 3, S, S) uint8,
        spectrograms (B, 1, F, T), those of clips `similar[index]` or None).

        RuntimeError names clips that cannot be read.
        """
        self.waited = 0.0
        if (
            self.device.type == "cpu"
        ):  # it reads or computes: threads would only disturb
            reads = ((lambda part=part: self._read(part, similar)) for part in parts)
        else:
            reads = self._ahead(parts, similar)
        for part, read in zip(parts, reads):
            started = time.perf_counter()
            try:
                batch = read()
            except (RuntimeError, IndexError, OSError) as error:
                names = ", ".join(self.names[i] for i in part if i < len(self.names))
                raise RuntimeError(f"cannot read {names}: {error}") from error
            self.waited += time.perf_counter() - started
            yield self._finish(*batch)

    def _ahead(self, parts, similar):
        """For each of `parts`, a function that returns it, read by a thread meanwhile."""
        with ThreadPoolExecutor(self.threads) as pool:
            waiting, parts = deque(), iter(parts)
            while True:
                while len(waiting) < AHEAD and (part := next(parts, None)) is not None:
                    waiting.append(pool.submit(self._read, part, similar))
                if not waiting:
                    return
                yield waiting.popleft().result
