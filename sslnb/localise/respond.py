"""A model's response maps for a folder of clips, to be scored (notebook 06; eq. 3).

    sslnb maps VGGSound_test --checkpoint vggsound144k.pth.tar \\
        --annotations vggss.json --out maps.npz
    sslnb score --responses maps.npz --annotations vggss.json

The folder may have any layout of sslnb/data/field/layouts.py. Frames are squashed to the
model's size, and sounds are cropped or repeated to its length. A file that cannot be
read is an error that names it; with `--skip-damaged` its clip is left out, and no other
clip takes its place. A table beside the maps lists the clips without a map, and why.

With `--sound another` or `--sound silence` each image is played another sound than its
own, for the listening test of `sslnb score --others`.
"""

import os
import tempfile
import zipfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from sslnb.data.field.annotations import shortened
from sslnb.data.field.layouts import Clip, open_folder
from sslnb.data.field.lists import source_video
from sslnb.data.media import AudioConfig, load_audio, load_image
from sslnb.files import atomic_write
from sslnb.localise.listening import other_class
from sslnb.model import ModelConfig, SoundLocaliser

THREADS = min(8, os.cpu_count() or 1)  # that read and decode files
Play = Callable[[Clip, AudioConfig], Tensor]  # gives the wave (samples,) for a clip
SPARES = 4  # other sounds that are tried for an image, where damaged ones are left out


def _play_own(clip: Clip, audio: AudioConfig) -> Tensor:
    return load_audio(clip.audio, audio)


def map_folder(
    model: SoundLocaliser,
    root: str | Path,
    out: str | Path,
    annotations: str | Path | None = None,
    listed: str | Path | None = None,
    skip_damaged: bool = False,
    progress: Callable = lambda clips, **about: clips,
    sound: str = "own",
    seed: int = 0,
) -> None:
    """Write the maps of a folder of clips to `out`, an .npz, and print a summary.

    Clips: those in `annotations` or in the list `listed`, else all. sound: what each
    image is played, "own", "silence", or "another", which is drawn (see other_sounds).
    The table `out`.missing.tsv lists the clips without a map, and why. `progress` is
    called as tqdm is. OSError, before any map is computed, where `out` cannot be written;
    other errors: see respond_to_clips and other_sounds.
    """
    out = Path(out)
    folder = open_folder(root, annotations, names=listed)
    print(folder.describe())
    play: Play = _play_own
    if sound == "another":
        paths, whose = other_sounds(folder.clips, SPARES if skip_damaged else 1, seed)
        play = partial(_play_first, paths)
        print(f"Each image is played the sound of a clip of another {whose}")
    elif sound == "silence":
        play = _play_nothing
        print("Each image is played silence")
    elif sound != "own":
        raise ValueError(f"sound is {sound!r}; need own, another or silence")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out.parent).close()
    except OSError as error:
        raise OSError(f"{out} cannot be written: {error.strerror}") from error
    maps, damaged = respond_to_clips(
        model,
        folder.clips,
        skip_damaged=skip_damaged,
        progress=partial(progress, total=len(folder.clips)),
        play=play,
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
        f"{out}: maps of {len(maps):,} of {len(maps) + len(lacking):,} clips; {table} "
        "lists the others"
    )


def other_sounds(
    clips: Sequence[Clip], draws: int = 1, seed: int = 0
) -> tuple[dict[str, list[Path]], str]:
    """Sounds of other clips for each clip: {name: `draws` paths}, and what differs.

    What differs is the "class" where that of every clip is known, else the "source
    video". Sounds are drawn evenly. ValueError where all clips have the same.
    """
    labels, whose = [clip.label for clip in clips], "class"
    if None in labels:
        labels, whose = [source_video(clip.name) for clip in clips], "source video"
        if len(set(labels)) < 2:
            raise ValueError(
                f"all {len(clips):,} clips are of one source video, {labels[0]}: there "
                "is no other sound to play"
            )
    drawn = other_class(labels, draws, seed).T.tolist()  # (N, draws)
    return {
        clip.name: [clips[k].audio for k in row] for clip, row in zip(clips, drawn)
    }, whose


def _play_nothing(clip: Clip, audio: AudioConfig) -> Tensor:
    return torch.zeros(audio.samples)


def _play_first(paths: Mapping, clip: Clip, audio: AudioConfig) -> Tensor:
    """The first of a clip's paths that can be read; the error of the last if none can."""
    *spare, last = paths[clip.name]
    for path in spare:
        with suppress(OSError, ValueError):
            return load_audio(path, audio)
    return load_audio(last, audio)


def respond_to_clips(
    model: SoundLocaliser,
    clips: Iterable[Clip],
    batch: int = 16,
    skip_damaged: bool = False,
    progress: Callable = lambda clips: clips,
    play: Play = _play_own,
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Response maps of clips, each image with its own sound, or with what `play` gives.

    Returns {name: (h, w) float32} in the order of the clips, and {name: why} of the
    clips whose files cannot be read. Without `skip_damaged`, ValueError names the first
    of these; with it, ValueError is raised only if no clip can be read. At most two
    batches are read ahead. Maps are computed on the model's device. `progress` wraps
    the iterator of clips.
    """
    device = next(model.parameters()).device
    maps: dict[str, np.ndarray] = {}
    damaged: dict[str, str] = {}
    batches = read_batches(
        model.config, clips, batch, damaged if skip_damaged else None, progress, play
    )
    for several, images, waves in batches:
        responses = model.predict(images.to(device), waves.to(device))
        names = (clip.name for clip in several)
        maps.update(zip(names, responses.float().cpu().numpy()))
    if not maps:
        raise ValueError(f"no clip can be read: {shortened(damaged.values(), 1)}")
    return maps, damaged


def read_batches(
    config: ModelConfig,
    clips: Iterable[Clip],
    batch: int = 16,
    damaged: dict[str, str] | None = None,
    progress: Callable = lambda clips: clips,
    play: Play = _play_own,
) -> Iterator[tuple[tuple[Clip, ...], Tensor, Tensor]]:
    """Batches of clips, as a model of `config` takes them.

    Yields (clips, images (B, 3, S, S) in [0, 1], waves (B, samples)); at most two
    batches are read ahead. `damaged` collects {name: why} of the clips that cannot be
    read; if it is None, ValueError names the first of them. `progress` wraps the
    iterator of clips. `play` gives a clip's wave (samples,), by default its own sound.
    """
    read = iter(progress(_read_ahead(config, clips, 2 * batch, play)))
    while several := list(islice(read, batch)):
        intact = []
        for clip, inputs in several:
            if not isinstance(inputs, Exception):
                intact.append((clip, *inputs))
            elif damaged is not None:
                damaged[clip.name] = str(inputs)
            else:
                raise ValueError(
                    f"clip {clip.name}: {inputs}; repair it, or leave such clips out "
                    "with --skip-damaged"
                ) from inputs
        if intact:
            read_clips, images, waves = zip(*intact)
            yield read_clips, torch.stack(images), torch.stack(waves)


def _read_ahead(config, clips, ahead, play=_play_own):
    """Each clip in order with its (image, wave) or the error; read on threads."""

    def read(clip):
        try:
            return (
                load_image(clip.frame, config.image_size, config.resample),
                play(clip, config.audio),
            )
        except (OSError, ValueError) as error:
            return error

    waiting: deque = deque()
    clips = iter(clips)
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


def write_maps(path: str | Path, maps: Mapping[str, ArrayLike]) -> None:
    """Write {clip: (h, w)} as an .npz, atomically."""
    # numpy.savez would take a clip called "file" for its own argument
    with atomic_write(path) as part, zipfile.ZipFile(part, "w") as archive:
        for name, values in maps.items():
            with archive.open(f"{name}.npy", "w") as entry:
                np.lib.format.write_array(entry, np.asarray(values), allow_pickle=False)
