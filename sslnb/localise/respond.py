"""A model's response maps for a folder of clips, to be scored (notebook 06; eq. 3).

    python -m sslnb.localise maps VGGSound_test --checkpoint vggsound144k.pth.tar \\
        --annotations vggss.json --out maps.npz
    python -m sslnb.localise score --responses maps.npz --annotations vggss.json

The folder has any layout of sslnb/data/field/layouts.py. Frames are squashed to the model's size
and sounds cut or tiled to its length. A file that cannot be read is an error that names
it, or with `--skip-damaged` a clip less; no other clip takes its place. What has no map,
and why, stands in a table beside the maps.
"""

import os
import zipfile
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from sslnb.data.field.annotations import shortened
from sslnb.data.field.layouts import open_folder
from sslnb.data.media import load_audio, load_image
from sslnb.files import atomic_write
from sslnb.model import SoundLocaliser

HELP = "a model's response maps for a folder of clips, as .npz"
THREADS = min(8, os.cpu_count() or 1)  # they wait for the disk, and decode


def add_options(parser):
    """Options of `python -m sslnb.localise maps`."""
    parser.add_argument("folder", help="clips, in any layout of the field")
    parser.add_argument("--checkpoint", required=True,
                        help="folder of a checkpoint, or the authors' .pth.tar")
    parser.add_argument("--out", required=True, type=Path,
                        help="the .npz to write: clip name -> (h, w) float32")
    parser.add_argument("--annotations",
                        help="vggss.json or a folder of XML: the clips that are wanted")
    parser.add_argument("--list", help="the clips that are wanted, one a line")
    parser.add_argument("--skip-damaged", action="store_true",
                        help="count and list files that cannot be read, and go on")


def run(options):
    """The command: read the folder, respond, write the maps and what has none."""
    if options.out.is_dir() or options.out.suffix != ".npz":
        raise ValueError(f"--out is {options.out}; need the name of an .npz file")
    folder = open_folder(options.folder, options.annotations, names=options.list)
    print(folder.describe())
    model = SoundLocaliser.open(options.checkpoint)
    if model.leftover:
        print(f"Not used of {options.checkpoint}: {', '.join(model.leftover)}")
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    maps, damaged = respond_to_clips(
        model, folder.clips, skip_damaged=options.skip_damaged,
        progress=lambda clips: tqdm(clips, total=len(folder.clips), unit="clip"),
    )
    write_maps(options.out, maps)
    lacking = {**folder.missing, **damaged}
    table = options.out.with_suffix(".missing.tsv")
    with atomic_write(table) as part:
        rows = [f"{name}\t{' '.join(why.split())}\n" for name, why in lacking.items()]
        part.write_text("clip\twhy\n" + "".join(rows), encoding="utf-8")
    if damaged:
        print(f"{len(damaged):,} damaged: {shortened(damaged)}")
    print(f"maps of {len(maps):,} of {len(maps) + len(lacking):,} clips in {options.out},"
          f" those without in {table}")


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
    read = iter(progress(_read_ahead(model.config, clips, 2 * batch)))
    while several := list(islice(read, batch)):
        intact = []
        for clip, inputs in several:
            if not isinstance(inputs, Exception):
                intact.append((clip.name, *inputs))
            elif skip_damaged:
                damaged[clip.name] = str(inputs)
            else:
                raise ValueError(
                    f"clip {clip.name}: {inputs}; mend it, or leave such clips out with "
                    "--skip-damaged"
                ) from inputs
        if intact:
            names, images, waves = zip(*intact)
            responses = model.predict(
                torch.stack(images).to(device), torch.stack(waves).to(device)
            )
            maps.update(zip(names, responses.float().cpu().numpy()))
    if not maps:
        raise ValueError(f"no clip can be read: {shortened(damaged.values(), 1)}")
    return maps, damaged


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
