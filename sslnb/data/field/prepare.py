"""From videos to clips: the centre frame and mono 16 kHz audio of each (appendix A1).

    sslnb prepare VIDEOS --out CLIPS                  # as many workers as cores
    sslnb prepare VIDEOS --out CLIPS --size 256       # smaller frames

VIDEOS holds VGGSound files, `<11-character id>_<start, 6 digits>.mp4` (or .webm, .mkv),
in folders of any depth. Each gives CLIPS/frames/<clip>.jpg, the frame shown when half of
the video has played, in the video's size; and CLIPS/audio/<clip>.wav, all of its sound,
16-bit. Other videos, such as .avi, are listed as failed: in some of those containers a
truncated file cannot be told from an intact one.

After a kill, the same command resumes: a file gets its final name only once it is
complete, and clips that have both files are not read again. What failed, and why, is
printed and listed in CLIPS/failed.tsv; such clips leave neither file, and the next run
tries them again.
"""

import csv
import io
import json
import multiprocessing
import os
import re
import signal
import threading
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass
from itertools import islice
from pathlib import Path

import soundfile
from tqdm import tqdm

from sslnb.data.decode import RATE, ClipError, read_clip
from sslnb.data.field.walk import walk
from sslnb.files import atomic_write, locked

SUFFIXES = (".mp4", ".webm", ".mkv")
OTHERS = frozenset(  # not read, but listed as failed
    [
        ".3gp",
        ".asf",
        ".avi",
        ".flv",
        ".m2ts",
        ".m4v",
        ".mov",
        ".mpeg",
        ".mpg",
        ".mts",
        ".ogv",
        ".ts",
        ".vob",
        ".wmv",
    ]
)
NAME = re.compile(r"[A-Za-z0-9_-]{11}_[0-9]{6}")  # YouTube's id, second of the start
QUALITY = 95  # of the JPEG: a frame of 640 x 360 takes about 60 kB
ROWS = 40  # of the failures that are printed; failed.tsv has all
# in addition to the reasons of decode.py
NO_NAME, TWO_FILES, CONTAINER = "no VGGSound name", "two files", "other container"


@dataclass(frozen=True)
class Failure:
    """A file that gave no clip, relative to the folder of videos, and why."""

    file: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Report:
    """What a run did: clips made now, clips that were there already, failures."""

    made: int
    kept: int
    failures: tuple[Failure, ...]

    def __str__(self):
        """Counts, then a table of the failures, of at most ROWS of them."""
        total = self.made + self.kept + len(self.failures)
        kinds = Counter(failure.reason for failure in self.failures)
        rows = [("file", "why", ""), *map(astuple, self.failures[:ROWS])]
        width = max(len(file) for file, _, _ in rows)
        lines = [
            f"{file:<{width}}  {why:<17} {detail}".rstrip()
            for file, why, detail in rows
        ]
        rest = len(self.failures) - ROWS
        return "\n".join(
            [
                f"{total:,} files: {self.made:,} made, {self.kept:,} there already, "
                f"{len(self.failures):,} failed",
                *(f"{count:>8,} {reason}" for reason, count in kinds.most_common()),
                *(["", *lines] if self.failures else []),
                *([f"… and {rest:,} more, in failed.tsv"] if rest > 0 else []),
            ]
        )


def prepare_clip(video: str | Path, out: str | Path, size: int | None = None) -> None:
    """Write frames/<clip>.jpg and audio/<clip>.wav of one video into folder `out`.

    Both folders must exist. ClipError where the video gives no clip: then neither file
    is left, nor one of an earlier run. `size` as in `read_clip`.
    """
    frame, audio = _files(out, Path(video).stem)
    try:
        image, wave = read_clip(video, size)
    except ClipError:
        _discard(out, Path(video).stem)
        raise
    sound = io.BytesIO()  # on a full disk libsndfile only says "System error"
    soundfile.write(sound, wave, RATE, "PCM_16", format="WAV")
    with atomic_write(audio) as path:
        path.write_bytes(sound.getvalue())
    with atomic_write(frame) as path:
        image.save(path, quality=QUALITY)


def _files(out, clip):
    return Path(out, "frames", f"{clip}.jpg"), Path(out, "audio", f"{clip}.wav")


def _discard(out, clip):
    for path in _files(out, clip):
        path.unlink(missing_ok=True)


def prepare_videos(
    videos: str | Path,
    out: str | Path,
    workers: int | None = None,
    size: int | None = None,
    progress: bool = True,
) -> Report:
    """Make those clips of a folder of videos that folder `out` lacks.

    `workers` processes, by default as many as there are cores; in a script, call it
    under `if __name__ == "__main__"`. `size` as in `read_clip`. ValueError: no videos, or
    `out` was begun with another size. OSError: files that cannot be written, another run
    at work in `out`, or (ChildProcessError) a worker that died. What is made by then is
    kept.
    """
    videos, out = Path(videos).absolute(), Path(out).absolute()  # for the workers
    workers = len(os.sched_getaffinity(0)) if workers is None else workers
    if workers < 1 or (size is not None and size < 1):
        raise ValueError(f"workers is {workers} and size {size}; need 1 or more")
    files, failures = _listed(videos)
    made = 0
    with _held(out, size):
        (out / "failed.tsv").unlink(missing_ok=True)  # of an earlier run
        for failure in failures:
            if failure.reason == TWO_FILES:
                _discard(out, Path(failure.file).stem)
        frames, audio = (
            {path.stem for path in Path(out, folder).iterdir()}
            for folder in ("frames", "audio")
        )
        waiting = [file for file in files if file.stem not in frames & audio]
        kept = len(files) - len(waiting)
        with (
            tqdm(
                total=len(files), initial=kept, unit="clip", disable=not progress
            ) as bar,
            closing(_results(waiting, out, size, workers)) as results,
        ):
            for file, error in results:
                made += error is None
                failures += [Failure(_name(file, videos), *error)] if error else []
                bar.update()
        report = Report(made, kept, tuple(sorted(failures, key=astuple)))
        with atomic_write(out / "failed.tsv") as path:
            with open(path, "w", newline="", encoding="utf-8") as file:
                table = csv.writer(file, delimiter="\t", lineterminator="\n")
                table.writerow(("file", "reason", "detail"))
                table.writerows(map(astuple, report.failures))
    return report


def _listed(videos):
    """Files of which clips can be made, and the Failures: those of which they cannot."""
    if not videos.is_dir():
        raise NotADirectoryError(f"{videos} is no folder; need one of videos")
    paths = (Path(entry.path) for entry in walk(videos))
    found = sorted(p for p in paths if p.suffix.lower() in OTHERS.union(SUFFIXES))
    if not found:
        raise ValueError(f"no {', '.join(SUFFIXES)} in {videos}")
    counts = Counter(path.stem for path in found if path.suffix.lower() in SUFFIXES)
    files, failures = [], []
    for path in found:
        if path.suffix.lower() in OTHERS:
            failures.append(
                Failure(
                    _name(path, videos),
                    CONTAINER,
                    f"need one of {', '.join(SUFFIXES)}; convert or move it",
                )
            )
        elif not NAME.fullmatch(path.stem):
            failures.append(
                Failure(
                    _name(path, videos),
                    NO_NAME,
                    f"need <11-character id>_<start, 6 digits>{path.suffix}",
                )
            )
        elif counts[path.stem] > 1:
            failures.append(
                Failure(
                    _name(path, videos),
                    TWO_FILES,
                    f"one of {counts[path.stem]} of this clip; keep one",
                )
            )
        else:
            files.append(path)
    return files, failures


def _name(path, folder):
    """A path within a folder as text, also where its bytes are not valid text."""
    return str(path.relative_to(folder)).encode("utf-8", "backslashreplace").decode()


@contextmanager
def _held(out, size):
    """Folder `out`, locked for this run and cleared of half-written files.

    The locked file says which size the frames have; the lock of a killed run ends with
    its process.
    """
    for folder in ("frames", "audio"):
        Path(out, folder).mkdir(parents=True, exist_ok=True)
    busy = (
        f"another run is at work in {out}; wait for its end, or choose another folder"
    )
    with locked(out / "prepare.json", busy) as file:
        file.seek(0)
        found, settings = file.read().decode(), json.dumps({"size": size})
        if found not in ("", settings):
            raise ValueError(
                f"{out} was begun with {found}, this run has {settings}; "
                "give it the same, or another folder"
            )
        if not found:
            file.write(settings.encode())
            file.flush()
        _sweep(out)
        try:
            yield
        finally:
            _sweep(out)


def _sweep(out):
    """Remove what `atomic_write` leaves where a process is killed."""
    for pattern in (".[0-9]*.failed.tsv", "frames/.[0-9]*.jpg", "audio/.[0-9]*.wav"):
        for path in out.glob(pattern):
            path.unlink(missing_ok=True)


def _results(files, out, size, workers):
    """Make clips in processes; yields (file, None or (reason, detail)) for each."""
    waiting, running = iter(files), {}
    # not forked: the threads of a notebook's process would not survive it
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _begin) as pool:
        try:
            while True:
                with _interrupts_held():  # workers, which start here, inherit this
                    for file in islice(waiting, 2 * workers - len(running)):
                        running[pool.submit(_make, file, out, size)] = file
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    error = future.result()
                    yield running.pop(future), error
        except BrokenProcessPool as error:
            names = ", ".join(sorted(file.name for file in running.values()))
            raise ChildProcessError(
                f"a worker died (killed, or out of memory?) near {names}. What is made "
                "is kept: run again, with fewer workers if memory ran out; if it always "
                "ends near the same file, move that file away"
            ) from error


@contextmanager
def _interrupts_held():
    """Ctrl-C is for the run, not for its workers: inside the block it is deferred."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin():
    """A worker ends when the run ends, even where that was killed."""

    def end_with_parent():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


def _make(file, out, size):
    try:
        prepare_clip(file, out, size)
    except ClipError as error:
        return error.reason, error.detail
    return None
