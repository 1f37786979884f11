"""A model's response maps for a folder of clips, to be scored (notebook 06; eq. 3).

    sslnb maps VGGSound_test --checkpoint vggsound144k.pth.tar \\
        --annotations vggss.json --out maps.npz
    sslnb score --responses maps.npz --annotations vggss.json

The folder has any layout of sslnb/data/field/layouts.py. Frames are squashed to the model's size
and sounds cut or tiled to its length. A file that cannot be read is an error that names
it, or with `--skip-damaged` a clip less; no other clip takes its place. What has no map,
and why, stands in a table beside the maps.
"""

import os
import zipfile
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from sslnb.data.field.annotations import shortened
from sslnb.data.field.layouts import open_folder
from sslnb.data.media import load_audio, load_image
from sslnb.files import atomic_write
from sslnb.model import SoundLocaliser

THREADS = min(8, os.cpu_count() or 1)  # they wait for the disk, and decode


def map_folder(
    model: SoundLocaliser,
    root: str | Path,
    out: str | Path,
    annotations: str | Path | None = None,
    listed: str | Path | None = None,
    skip_damaged: bool = False,
    progress: Callable = lambda clips, **about: clips,
) -> None:
    """Write the maps of a folder of clips to `out`, an .npz, and say what has none.

    Clips: those of `annotations` or of the list `listed`, else all. What has no map,
    and why, goes into a table beside `out`, .missing.tsv. `progress` is called as tqdm
    is. Errors: see respond_to_clips.
    """
    out = Path(out)
    folder = open_folder(root, annotations, names=listed)
    print(folder.describe())
    out.parent.mkdir(parents=True, exist_ok=True)
    maps, damaged = respond_to_clips(
        model,
        folder.clips,
        skip_damaged=skip_damaged,
        progress=partial(progress, total=len(folder.clips)),
    )
    write_maps(out, maps)
    lacking = {**folder.missing, **damaged}
    table = out.with_suffix(".missing.tsv")
    with atomic_write(table) as part:
        rows = [f"{name}\t{' '.join(why.split())}\n" for name, why in lacking.items()]
        part.write_text("clip\twhy\n" + "".join(rows), encoding="utf-8")
    if damaged:
        print(f"{len(damaged):,} damaged: {shortened(damaged)}")
    print(
        f"maps of {len(maps):,} of {len(maps) + len(lacking):,} clips in {out},"
        f" those without in {table}"
    )


def respond_to_clips(model, clips, batch=16, skip_damaged=False,
                     progress=lambda clips: clips):
    """Response maps of layouts.Clip objects, each picture with its own sound.

    Returns {name: (h, w) float32} in the order of the clips, and {name: why} of those
    whose files cannot be read. ValueError names the first of these, unless
    `skip_damaged`, and where none is left. Clips are read ahead of the model, two
    batches at most; it computes where it is. `progress` wraps the iterator of clips.
    """
    device = next(model.parameters()).device
    maps, damaged = {}, {}
    batches = read_batches(
        model.config, clips, batch, damaged if skip_damaged else None, progress
    )
    for several, images, waves in batches:
        responses = model.predict(images.to(device), waves.to(device))
        names = (clip.name for clip in several)
        maps.update(zip(names, responses.float().cpu().numpy()))
    if not maps:
        raise ValueError(f"no clip can be read: {shortened(damaged.values(), 1)}")
    return maps, damaged


def read_batches(config, clips, batch=16, damaged=None, progress=lambda clips: clips):
    """Clips as a model of `config` takes them, in batches.

    Yields (clips, images (B, 3, S, S) in [0, 1], waves (B, samples)), read ahead by two
    batches at most. `damaged`: a dict that takes {name: why} of the clips that cannot
    be read; where it is None, ValueError names the first of them. `progress` wraps the
    iterator of clips.
    """
    read = iter(progress(_read_ahead(config, clips, 2 * batch)))
    while several := list(islice(read, batch)):
        intact = []
        for clip, inputs in several:
            if not isinstance(inputs, Exception):
                intact.append((clip, *inputs))
            elif damaged is not None:
                damaged[clip.name] = str(inputs)
            else:
                raise ValueError(
                    f"clip {clip.name}: {inputs}; mend it, or leave such clips out with "
                    "--skip-damaged"
                ) from inputs
        if intact:
            several, images, waves = zip(*intact)
            yield several, torch.stack(images), torch.stack(waves)


def _read_ahead(config, clips, ahead):
    """Pairs of a clip and its picture and wave, or the error; on threads, in order."""
    def read(clip):
        try:
            return (load_image(clip.frame, config.image_size, config.resample),
                    load_audio(clip.audio, config.audio))
        except (OSError, ValueError) as error:
            return error

    waiting, clips = deque(), iter(clips)
    pool = ThreadPoolExecutor(THREADS)
    try:
        while True:
            for clip in islice(clips, ahead - len(waiting)):
                waiting.append((clip, pool.submit(read, clip)))
            if not waiting:
                return
            clip, inputs = waiting.popleft()
            yield clip, inputs.result()
    finally:
        pool.shutdown(cancel_futures=True)


def write_maps(path, maps):
    """Write {clip: (h, w)} as .npz, which has its name only once it is whole."""
    # numpy.savez would take a clip called "file" for its own argument
    with atomic_write(path) as part, zipfile.ZipFile(part, "w") as archive:
        for name, values in maps.items():
            with archive.open(f"{name}.npy", "w") as entry:
                np.lib.format.write_array(entry, np.asarray(values), allow_pickle=False)
