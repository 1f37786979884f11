"""Packed stores: what is opened is what was packed, whatever happened in between."""

import fcntl
import itertools
import json
import multiprocessing
import os
import pickle
import resource
import subprocess
import sys
import threading
import time
import tracemalloc
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from sslnb.cli import main
from sslnb.data import (
    AudioConfig,
    Clips,
    fit_length,
    load_audio,
    load_image,
    load_scenes,
)
from sslnb.data.field.annotations import Annotation
from sslnb.data.field.layouts import Clip, Folder
from sslnb.data.soundstamps import compose
from sslnb.data.store import arrays, packing
from sslnb.data.store.clips import is_complete, open_store, pack, pack_scenes, verify
from sslnb.data.store.packing import CHUNK

ROOT = Path(__file__).resolve().parents[2]
SIZE, SECONDS = 12, 0.02
AUDIO = AudioConfig(seconds=SECONDS)
COUNT = 2 * CHUNK + 9  # two chunks and a bit


def make_clips(folder, count, rate=16_000):
    """A Folder of `count` small clips; sounds are shorter and longer than a store's."""
    rng = np.random.default_rng(0)
    clips = []
    for k in range(count):
        frame, audio = folder / f"{k:03}.png", folder / f"{k:03}.wav"
        Image.fromarray(rng.integers(0, 256, (9, 16, 3), np.uint8)).save(frame)
        samples = int(rng.integers(100, 700))
        wave = rng.integers(-32768, 32767, samples, np.int16, endpoint=True)
        soundfile.write(audio, wave, rate, "PCM_16")
        boxes = ((0.1, 0.2, 0.3 + k / 1000, 0.9), (0.0, 0.0, 1 / 3, 1.0))[: k % 3]
        truth = Annotation(boxes, annotators=1 + 2 * (k == 5)) if k % 4 else None
        clips.append(Clip(f"clip{k:03}", frame, audio, f"class {k % 7}", truth))
    return Folder("of this test", folder, tuple(clips), {})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_clips(tmp_path_factory.mktemp("clips"), COUNT)


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory):
    """A store of `folder`, packed in one go in this process. Not to be changed."""
    out = tmp_path_factory.mktemp("whole") / "store"
    assert pack(folder, out, SIZE, SECONDS, workers=1) == {}
    return out


@pytest.fixture
def copy(whole, tmp_path):
    """A copy of `whole`, to be damaged."""
    for file in whole.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def contents(out):
    return {file.name: file.read_bytes() for file in Path(out).iterdir()}


def names_of(folder):
    return [clip.name for clip in folder.clips]


class Endless:
    """A path at which a process that reads for another one waits without end."""

    def __fspath__(self):
        while multiprocessing.parent_process() is not None:
            time.sleep(3600)
        return "endless"


def blocking(folder, rows):
    """`folder`, but a worker that reads the frames of these rows waits without end."""
    clips = list(folder.clips)
    for row in rows:
        clips[row] = replace(clips[row], frame=Endless())
    return replace(folder, clips=tuple(clips))


def until(condition):
    """Wait until something has happened; an hour at most, so no clock decides."""
    for _ in range(360_000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("never happened")


# --- what is opened is what was packed ----------------------------------------


def test_rows_are_what_is_read_one_by_one(folder, whole):
    clips = open_store(whole)
    assert isinstance(clips, Clips) and len(clips) == COUNT and clips.masks is None
    assert clips.images.shape == (COUNT, 3, SIZE, SIZE)
    assert clips.images.dtype == torch.uint8
    assert clips.waves.shape == (COUNT, AUDIO.samples)
    assert clips.waves.dtype == torch.int16
    for row, clip in enumerate(folder.clips):
        assert torch.equal(clips.images[row] / 255, load_image(clip.frame, SIZE))
        assert torch.equal(clips.waves[row] / 32768, load_audio(clip.audio, AUDIO))
    assert clips.names == names_of(folder)
    assert clips.labels == [clip.label for clip in folder.clips]


def test_sounds_of_other_rates_are_rounded(tmp_path):
    folder = make_clips(tmp_path, 4, rate=44_100)
    pack(folder, tmp_path / "out", SIZE, SECONDS, workers=1)
    clips = open_store(tmp_path / "out")
    for row, clip in enumerate(folder.clips):
        wave = load_audio(clip.audio, AUDIO).clamp(-1, 32767 / 32768)
        assert (clips.waves[row] / 32768 - wave).abs().max() <= 0.5 / 32768


def test_boxes_are_kept_where_one_annotator_drew_them(folder, whole):
    for clip, boxes in zip(folder.clips, open_store(whole).boxes):
        if clip.annotation is None or clip.annotation.annotators > 1:
            assert boxes is None
        else:
            assert boxes == clip.annotation.boxes  # () where it has none


def test_arrays_are_numpys_own_files(whole):
    clips = open_store(whole)
    assert np.array_equal(np.load(whole / "frames.npy"), clips.images)
    assert np.array_equal(np.load(whole / "waves.npy"), clips.waves)


def test_batches_are_gathered_by_any_index(folder, whole):
    clips = open_store(whole)
    index = torch.tensor([COUNT - 1, 3, 3, 70])
    frames = np.load(whole / "frames.npy")
    assert np.array_equal(clips.images[index], frames[index.numpy()])
    assert [len(part) for part in clips.waves.split(64)] == [64, 64, 9]


def test_writing_to_an_opened_store_does_not_change_it(whole):
    before = contents(whole)
    clips = open_store(whole)
    clips.images[0] = 7
    assert (clips.images[0] == 7).all()
    assert contents(whole) == before
    assert not torch.equal(open_store(whole).images[0], clips.images[0])


def test_a_store_larger_than_memory_is_mapped(tmp_path):
    """Half a terabyte, of which the file holds a header only."""
    path, shape = tmp_path / "a.npy", (2**19, 2**20)
    np.lib.format.open_memmap(path, "w+", np.uint8, shape)
    found = torch.from_numpy(arrays.map_array(path, "uint8", shape))
    assert found.shape == (2**19, 2**20)
    assert found[torch.tensor([0, 2**19 - 1]), :9].sum() == 0


@pytest.mark.parametrize("seconds", [3, 1.5, 4.0])
def test_scenes_are_those_that_are_composed(tmp_path, seconds):
    pack_scenes("val", 5, tmp_path / "out", 16, seconds, seed=2, workers=1)
    clips = open_store(tmp_path / "out")
    loaded = load_scenes("val", 5, 16, round(16_000 * seconds), seed=2)
    for row in range(5):
        scene = compose("val", 2, row, 16)
        assert np.array_equal(clips.images[row].permute(1, 2, 0), scene.image)
        wave = fit_length(torch.from_numpy(scene.wave), clips.waves.shape[1])
        assert torch.equal(clips.waves[row], wave)
        assert np.array_equal(clips.masks[row], scene.mask)
        assert clips.boxes[row] == scene.boxes
    assert clips.masks.dtype == torch.bool
    for name in ("images", "waves", "masks"):
        assert torch.equal(getattr(clips, name), getattr(loaded, name))
    for name in ("names", "labels", "boxes"):
        assert getattr(clips, name) == getattr(loaded, name)


def test_a_store_keeps_the_photograph_and_the_recording_of_scenes(tmp_path):
    pack_scenes("ladder", CHUNK + 6, tmp_path / "out", 8, SECONDS, workers=1)
    clips = open_store(tmp_path / "out")
    loaded = load_scenes("ladder", CHUNK + 6, 8, AUDIO.samples)
    assert len(set(loaded.recordings)) < len(clips)  # some are shared
    for name in ("photos", "recordings", "originals", "groups"):
        assert getattr(clips, name) == getattr(loaded, name)
    assert clips.part(slice(3, 5)).recordings == loaded.recordings[3:5]
    assert clips.fingerprint() == loaded.fingerprint()
    bare = replace(loaded, photos=None, recordings=None)
    assert clips.fingerprint() == bare.fingerprint()


@pytest.mark.parametrize("without", [range(COUNT), [1]], ids=["all", "one"])
def test_an_older_store_of_scenes_opens_and_knows_no_photographs(tmp_path, without):
    """As packed before stores kept them, or begun before and finished since."""
    pack_scenes("val", 3, tmp_path, 8, SECONDS, workers=1)
    now = open_store(tmp_path)
    records, _ = arrays.read_index(tmp_path)
    for row, item in enumerate(arrays.items_of(records)):
        if row in without:
            del item["photo"], item["recording"]
    end = {"complete": zlib.crc32(arrays.to_lines(records))}
    (tmp_path / "index.jsonl").write_bytes(arrays.to_lines([*records, end]))
    clips = open_store(tmp_path)
    assert clips.photos is clips.recordings is clips.groups is None
    assert clips.originals == clips.names == now.names
    assert clips.boxes == now.boxes and torch.equal(clips.images, now.images)


def test_clips_of_a_folder_have_no_photographs_of_their_own(whole):
    clips = open_store(whole)
    assert clips.photos is clips.recordings is None
    assert "photo" not in (whole / "index.jsonl").read_text()


def test_all_of_wild_has_several_boxes_a_clip(tmp_path):
    pack_scenes("wild", None, tmp_path / "out", 8, SECONDS, workers=1)
    loaded = load_scenes("wild", None, 8)
    assert open_store(tmp_path / "out").boxes == loaded.boxes
    assert max(map(len, loaded.boxes)) > 1


@pytest.mark.slow
def test_workers_do_not_change_a_store(folder, whole, tmp_path):
    pack(folder, tmp_path, SIZE, SECONDS, workers=2)
    assert contents(tmp_path) == contents(whole)
    assert set(contents(whole)) == {"frames.npy", "waves.npy", "index.jsonl"}


def test_a_store_may_be_smaller_than_a_chunk(folder, whole, tmp_path):
    few = replace(folder, clips=folder.clips[:1])
    pack(few, tmp_path, SIZE, SECONDS, workers=2)
    assert len(open_store(tmp_path)) == verify(tmp_path) == 1
    assert torch.equal(open_store(tmp_path).images, open_store(whole).images[:1])


# --- stopped and resumed ------------------------------------------------------


def records_of(out):
    """Settings and records of chunks in a store that is being packed."""
    path = out / "index.jsonl"
    text = path.read_bytes() if path.exists() else b""
    return [json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines()]


SCRIPT = """\
import pickle, sys
from sslnb.data.store.clips import pack
if __name__ == "__main__":
    with open(sys.argv[1], "rb") as file:
        pack(*pickle.load(file))
"""


def start(place, *given):
    """pack(*given) in a process of its own."""
    script, job = place / "script.py", place / "job"
    script.write_text(SCRIPT)
    job.write_bytes(pickle.dumps(given))
    here = Path(__file__).parent  # of what is in `given`
    paths = {"PYTHONPATH": f"{ROOT}:{here}:{os.environ.get('PYTHONPATH', '')}"}
    return subprocess.Popen(
        [sys.executable, script, job], stderr=subprocess.DEVNULL, env=os.environ | paths
    )


@pytest.mark.slow
def test_a_killed_run_resumes_after_what_is_packed(folder, whole, tmp_path):
    out = tmp_path / "out"
    stuck = blocking(folder, [CHUNK + 30])  # in the middle of a chunk
    process = start(tmp_path, stuck, out, SIZE, SECONDS, 2)
    until(lambda: len(records_of(out)) == 2 or process.poll() is not None)
    process.kill()  # SIGKILL
    process.wait()
    assert [record["items"][0]["name"] for record in records_of(out)[1:]] == ["clip000"]
    assert not is_complete(out)
    with pytest.raises(FileNotFoundError, match="run the same command again to finish"):
        open_store(out)

    # what is finished is not read again: these files are gone
    gone = [replace(clip, frame=Path("gone")) for clip in folder.clips]
    gone[CHUNK:] = folder.clips[CHUNK:]
    assert pack(replace(folder, clips=tuple(gone)), out, SIZE, SECONDS, workers=1) == {}
    assert contents(out) == contents(whole) and is_complete(out)


@pytest.mark.slow
def test_a_run_may_be_killed_at_any_moment(tmp_path):
    """SIGKILL at random, each time after a chunk or more."""
    folder = make_clips(tmp_path, 9 * CHUNK + 1)
    out, rng = tmp_path / "out", np.random.default_rng()
    pack(folder, tmp_path / "whole", SIZE, SECONDS, workers=1)

    def kill_when(packed):
        process = start(tmp_path, folder, out, SIZE, SECONDS, 1)
        until(lambda: len(records_of(out)) > packed or process.poll() is not None)
        time.sleep(rng.uniform(0, 0.2))
        process.kill()
        process.wait()
        # nothing is lost; a run may also have been quick enough to end
        assert len(records_of(out)) > packed or is_complete(out)

    for _ in range(2):
        kill_when(len(records_of(out)))
    pack(folder, out, SIZE, SECONDS, workers=1)
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.parametrize("cut", [1, 200])
def test_a_line_that_was_cut_off_is_packed_again(folder, whole, tmp_path, cut):
    out = interrupted(folder, tmp_path)
    path = out / "index.jsonl"
    os.truncate(path, path.stat().st_size - cut)
    pack(folder, out, SIZE, SECONDS, workers=1)
    assert contents(out) == contents(whole)


def interrupted(folder, place):
    """A store of `folder` of which the first two chunks are packed."""
    clips = list(folder.clips)
    clips[-1] = replace(clips[-1], frame=Path("gone"))
    with pytest.raises(ValueError, match=clips[-1].name):
        pack(
            replace(folder, clips=tuple(clips)), place / "out", SIZE, SECONDS, workers=1
        )
    return place / "out"


def stop_at(patch, step):
    """Let the `step`-th write, sync or new array stop the run."""
    count = itertools.count()

    def stopping(function):
        def run(*given, **named):
            if next(count) == step:
                raise KeyboardInterrupt
            return function(*given, **named)

        return run

    places = (
        (os, "fsync"),
        (arrays, "write_rows"),
        (arrays, "write_down"),
        (np.lib.format, "open_memmap"),
    )
    for place, name in places:
        patch.setattr(place, name, stopping(getattr(place, name)))


def test_a_run_may_stop_at_any_step(folder, tmp_path, monkeypatch):
    """Before each step that changes the disk, one after the other."""
    clips = list(folder.clips[: CHUNK + 6])
    for row in (3, 9, CHUNK + 2):
        clips[row] = replace(clips[row], audio=Path("gone"))
    broken = replace(folder, clips=tuple(clips))
    pack(broken, tmp_path / "whole", SIZE, SECONDS, 1, skip_damaged=True)
    for step in itertools.count():
        out = tmp_path / f"step{step}"
        with monkeypatch.context() as patch:
            stop_at(patch, step)
            try:
                pack(broken, out, SIZE, SECONDS, 1, skip_damaged=True)
                break
            except KeyboardInterrupt:
                pass
        if is_complete(out):
            assert len(open_store(out)) == verify(out, 1) == len(clips) - 3
        pack(broken, out, SIZE, SECONDS, 1, skip_damaged=True)
        assert contents(out) == contents(tmp_path / "whole"), step
    assert step > 12


def test_a_whole_store_is_not_packed_again(folder, copy):
    before = {file: file.stat().st_mtime_ns for file in copy.iterdir()}
    gone = tuple(replace(clip, frame=Path("gone")) for clip in folder.clips)
    assert pack(replace(folder, clips=gone), copy, SIZE, SECONDS, workers=1) == {}
    assert {file: file.stat().st_mtime_ns for file in copy.iterdir()} == before


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize(
    "change, differs",
    [
        ({"size": 13}, "size is 13, was 12"),
        ({"seconds": 0.5}, "seconds is 0.5, was 0.02"),
        (
            {"root": Path("/elsewhere")},
            "source is 'of this test in /elsewhere', was 'of",
        ),
        ({"clips": 5}, f"clips is 5, was {COUNT}; sha256 of names and ground truth is"),
        (
            {"label": "other"},
            "begun with other settings: sha256 of names and ground truth is",
        ),
    ],
)
def test_other_settings_are_refused(
    folder, copy, tmp_path_factory, change, differs, finished
):
    out = copy if finished else interrupted(folder, tmp_path_factory.mktemp("begun"))
    before, given = contents(out), {"size": SIZE, "seconds": SECONDS}
    if "root" in change:
        folder = replace(folder, **change)
    elif "clips" in change:
        folder = replace(folder, clips=folder.clips[:5])
    elif "label" in change:
        first = replace(folder.clips[0], **change)
        folder = replace(folder, clips=(first, *folder.clips[1:]))
    else:
        given |= change
    with pytest.raises(ValueError, match=differs):
        pack(folder, out, **given, workers=1)
    assert contents(out) == before


def test_a_folder_with_other_files_is_left_alone(folder, tmp_path):
    (tmp_path / "frames.npy").write_text("mine")
    with pytest.raises(ValueError, match=r"holds other files \(frames.npy\)"):
        pack(folder, tmp_path, SIZE, SECONDS, workers=1)
    assert contents(tmp_path) == {"frames.npy": b"mine"}


def test_two_runs_do_not_pack_into_one_folder(folder, whole, tmp_path):
    out = interrupted(folder, tmp_path)
    with open(out / "index.jsonl", "ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError, match="another run is packing into"):
            pack(folder, out, SIZE, SECONDS, workers=1)
    pack(folder, out, SIZE, SECONDS, workers=1)
    assert contents(out) == contents(whole)


@pytest.mark.slow
@pytest.mark.parametrize("early", [True, False])
# torch raises at once, where its signal finds the main thread: where that starts the
# thread which feeds the worker, the new thread ends with a traceback beside the error
@pytest.mark.filterwarnings(
    "ignore:Exception ignored in thread started by"
    ":pytest.PytestUnraisableExceptionWarning"
)
def test_a_worker_that_dies_ends_the_run(folder, whole, tmp_path, early):
    """At once when it starts, while another does; or when both are at work."""
    stuck = blocking(folder, [5, CHUNK + 5])
    out, count = tmp_path / "out", 1 if early else 2

    def kill_one():
        until(lambda: len(multiprocessing.active_children()) >= count)
        if not early:
            time.sleep(1)
        multiprocessing.active_children()[0].kill()

    killer = threading.Thread(target=kill_one)
    killer.start()
    with pytest.raises(ChildProcessError, match=r"worker died.*run the same again"):
        pack(stuck, out, SIZE, SECONDS, workers=2)
    killer.join()
    pack(folder, out, SIZE, SECONDS, workers=1)
    assert contents(out) == contents(whole)


def test_packing_holds_a_few_chunks_whatever_the_number_of_clips(tmp_path):
    """Names, boxes and checksums of what is packed are on the disk, not in memory."""
    names = [f"clip {k}" for k in range(30 * CHUNK)]
    held = np.zeros(len(names), int)  # bytes, when each is read

    def read(item):
        held[item] = tracemalloc.get_traced_memory()[0]
        return {"boxes": [[item / 7, item / 9]]}, (np.uint8([item % 251]),)

    tracemalloc.start()
    try:
        rows = {"rows": ("uint8", (1,))}
        job = packing.Job(read, range(len(names)), names, rows, {})
        packing.pack(job, tmp_path / "out", workers=1, progress=False)
    finally:
        tracemalloc.stop()
    early, late = held[5 * CHUNK : 10 * CHUNK].max(), held[-5 * CHUNK :].max()
    assert late - early < 50_000  # 20 chunks' records are ten times as large
    records, stored = arrays.open_arrays(tmp_path / "out")
    assert [item["name"] for item in arrays.items_of(records)] == names
    assert (stored["rows"][:, 0] == np.arange(len(names)) % 251).all()


# --- damaged clips ------------------------------------------------------------


@pytest.fixture
def damaged(folder, tmp_path):
    """`folder`, of which three clips are damaged and one is not there."""
    cut, empty = tmp_path / "cut.png", tmp_path / "empty.wav"
    cut.write_bytes(folder.clips[4].frame.read_bytes()[:-200])
    soundfile.write(empty, np.zeros(0, np.int16), 16_000)
    clips = list(folder.clips)
    clips[4] = replace(clips[4], frame=cut)
    clips[CHUNK] = replace(clips[CHUNK], audio=empty)
    clips[-1] = replace(clips[-1], audio=tmp_path / "gone.wav")
    return replace(folder, clips=tuple(clips), missing={"absent": "no frame"})


BAD = {
    4: "cut.png is damaged",
    CHUNK: "empty.wav holds no samples",
    COUNT - 1: "gone.wav is missing",
}


def test_a_missing_clip_is_named(damaged, tmp_path):
    with pytest.raises(ValueError, match="clip absent cannot be packed: no frame; rep"):
        pack(damaged, tmp_path / "out", SIZE, SECONDS, workers=1)
    assert not (tmp_path / "out").exists()


def test_a_damaged_clip_is_named(damaged, tmp_path):
    present = replace(damaged, missing={})
    with pytest.raises(ValueError, match=r"clip clip004 cannot .*skip-damaged"):
        pack(present, tmp_path / "out", SIZE, SECONDS, workers=1)
    with pytest.raises(FileNotFoundError):
        open_store(tmp_path / "out")


def test_skipped_clips_are_listed_and_absent(damaged, folder, whole, tmp_path):
    out = tmp_path / "out"
    skipped = pack(damaged, out, SIZE, SECONDS, workers=1, skip_damaged=True)
    assert list(skipped) == ["absent"] + [f"clip{row:03}" for row in BAD]
    for row, why in BAD.items():
        assert why in skipped[f"clip{row:03}"]

    clips, right = open_store(out), open_store(whole)
    assert verify(out) == len(clips) == COUNT - 3
    assert sorted(clips.names + list(skipped)) == sorted(right.names + ["absent"])
    for row, name in enumerate(clips.names):  # each with its own rows and truth
        other = right.names.index(name)
        assert torch.equal(clips.images[row], right.images[other])
        assert torch.equal(clips.waves[row], right.waves[other])
        assert clips.boxes[row] == right.boxes[other]
        assert clips.labels[row] == right.labels[other]
    assert clips.names == [name for name in right.names if name not in skipped]


def test_skipped_clips_are_not_forgotten(damaged, tmp_path):
    out, present = tmp_path / "out", replace(damaged, missing={})
    pack(present, out, SIZE, SECONDS, workers=1, skip_damaged=True)
    with pytest.raises(
        ValueError, match=r"is complete, but clip clip004 .* and 2 more: "
    ):
        pack(present, out, SIZE, SECONDS, workers=1)


def test_a_run_may_skip_what_stopped_another(damaged, tmp_path):
    present = replace(damaged, missing={})
    with pytest.raises(ValueError):
        pack(present, tmp_path / "out", SIZE, SECONDS, workers=1)
    pack(present, tmp_path / "out", SIZE, SECONDS, workers=1, skip_damaged=True)
    pack(present, tmp_path / "one", SIZE, SECONDS, workers=1, skip_damaged=True)
    assert contents(tmp_path / "out") == contents(tmp_path / "one")


def test_clips_that_are_all_damaged_make_no_store(folder, tmp_path):
    clip = replace(folder.clips[0], frame=Path("gone"))
    alone = replace(folder, clips=(clip,))
    with pytest.raises(ValueError, match="no clip is left to pack; clip clip000"):
        pack(alone, tmp_path, SIZE, SECONDS, workers=1, skip_damaged=True)
    with pytest.raises(ValueError, match="no clips to pack"):
        pack(replace(folder, clips=()), tmp_path, SIZE, SECONDS)


# --- damaged stores -----------------------------------------------------------


@pytest.mark.parametrize(
    "name, row", [("frames", 0), ("frames", 70), ("waves", COUNT - 1)]
)
def test_a_flipped_bit_is_found_and_named(folder, copy, name, row):
    assert verify(copy, workers=2) == COUNT
    path = copy / f"{name}.npy"
    data = bytearray(path.read_bytes())
    size = (len(data) - 128) // COUNT
    data[128 + row * size + size // 2] ^= 1
    path.write_bytes(data)
    open_store(copy)  # sizes are right
    chunk = row // CHUNK
    with pytest.raises(ValueError) as error:
        verify(copy, workers=2)
    line, advice = str(error.value).splitlines()
    assert line.startswith(f"{path}: rows {chunk * CHUNK} to ")
    expected = names_of(folder)[chunk * CHUNK : (chunk + 1) * CHUNK]
    assert line.endswith("are damaged; clips " + ", ".join(expected))
    assert advice == f"delete {copy} and pack again"


def test_what_does_not_read_back_is_no_store(folder, tmp_path):
    out = interrupted(folder, tmp_path)
    with open(out / "frames.npy", "r+b") as file:
        file.seek(128)
        file.write(b"other")
    with pytest.raises(OSError, match=r"rows 0 to 63 are damaged[\s\S]*check the disk"):
        pack(folder, out, SIZE, SECONDS, workers=1)
    assert not is_complete(out)


def test_other_formats_are_refused(folder, copy, tmp_path_factory):
    path = copy / "index.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"format": 2', b'"format": 3'))
    for use in (open_store, lambda out: pack(folder, out, SIZE, SECONDS, workers=1)):
        with pytest.raises(ValueError, match=r"another version .*format 3, not 2"):
            use(copy)


def test_stores_of_format_1_are_to_be_packed_again(folder, copy):
    (copy / "index.jsonl").rename(copy / "index.json")
    for use in (open_store, lambda out: pack(folder, out, SIZE, SECONDS, workers=1)):
        with pytest.raises(ValueError, match="of format 1: delete it and pack again"):
            use(copy)


@pytest.mark.parametrize("text", ["{\n", "[]\n", "{}\n", "text\n"])
def test_a_damaged_index_is_refused(folder, copy, text):
    (copy / "index.jsonl").write_text(text)
    for use in (open_store, lambda out: pack(folder, out, SIZE, SECONDS, workers=1)):
        with pytest.raises(ValueError, match=r"index.jsonl is damaged.*pack again"):
            use(copy)


def test_a_changed_name_in_the_index_is_found(copy):
    path = copy / "index.jsonl"
    path.write_bytes(path.read_bytes().replace(b"clip007", b"clip008"))
    with pytest.raises(ValueError, match=r"index.jsonl is damaged.*wrong checksum"):
        open_store(copy)


@pytest.mark.parametrize("change", [-1, 1])
def test_other_sizes_are_refused(copy, change):
    path = copy / "waves.npy"
    os.truncate(path, path.stat().st_size + change)
    right = 128 + COUNT * 2 * AUDIO.samples
    with pytest.raises(ValueError, match=rf"waves.npy .*{right + change:,} bytes"):
        open_store(copy)


def test_other_arrays_are_refused(copy):
    np.save(copy / "waves.npy", np.zeros((COUNT, AUDIO.samples), np.int32))
    with pytest.raises(ValueError, match=r"int32 \(137, 320\) .* should hold int16"):
        verify(copy)
    (copy / "waves.npy").write_bytes(b"no array at all")
    with pytest.raises(
        ValueError, match=r"waves.npy of 15 bytes is .* not a .npy file"
    ):
        verify(copy)
    (copy / "waves.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"waves\.npy"):
        verify(copy)


def test_no_store_is_no_store(tmp_path):
    with pytest.raises(
        FileNotFoundError, match="not a complete store: there is no index"
    ):
        open_store(tmp_path)


# --- disks and arguments ------------------------------------------------------


def test_a_disk_that_is_too_small_is_told_at_the_start(tmp_path):
    need = 1_000 * (3 * 1e12 + 2 * 48_000 + 224**2) / 1e9
    with pytest.raises(
        OSError, match=f"{need:,.2f} GB of disk are needed, [0-9,.]+ GB are free: .*out"
    ):
        pack_scenes("train", 1_000, tmp_path / "out", size=1_000_000, workers=1)
    pack_scenes("train", 1, tmp_path / "out", size=8, workers=1)  # nothing was begun


def test_a_disk_that_is_full_keeps_what_is_packed(folder, whole, tmp_path):
    """A limit on the size of files, which the third chunk of sounds exceeds."""
    out, limits = tmp_path / "out", resource.getrlimit(resource.RLIMIT_FSIZE)
    few = 128 + 2 * CHUNK * AUDIO.samples * 2 + 100
    pack(folder, tmp_path / "other", SIZE, SECONDS, workers=1)
    assert (tmp_path / "other" / "waves.npy").stat().st_size > few
    interrupted(folder, tmp_path)  # the arrays are made, and two chunks are packed
    resource.setrlimit(resource.RLIMIT_FSIZE, (few, limits[1]))
    try:
        with pytest.raises(OSError, match=r"packed is kept: run the same again.*npy"):
            pack(folder, out, SIZE, SECONDS, workers=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(records_of(out)) == 3
    pack(folder, out, SIZE, SECONDS, workers=1)
    assert contents(out) == contents(whole)


def test_a_disk_with_room_for_a_part_of_the_index_is_told(folder, tmp_path):
    few = replace(folder, clips=folder.clips[:CHUNK])
    out, limits = tmp_path / "out", resource.getrlimit(resource.RLIMIT_FSIZE)
    tiny = {"size": 1, "seconds": 0.001, "workers": 1}
    pack(few, tmp_path / "whole", **tiny)
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "whole").iterdir()}
    assert sizes.pop("index.jsonl") > 5_000 > max(sizes.values())
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"packed is kept.*index.jsonl"):
            pack(few, out, **tiny)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    pack(few, out, **tiny)
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.parametrize(
    "given, match",
    [
        ({"size": 0}, "size is 0, seconds 0.02; both must be above 0"),
        ({"seconds": 0}, "size is 12, seconds 0; both"),
        ({"seconds": float("inf")}, "seconds is inf; need a finite number above 0"),
        ({"seconds": float("nan")}, "seconds is nan; need a finite number"),
        ({"workers": 0}, "workers is 0; need 1 or more"),
    ],
)
def test_bad_arguments_are_refused(folder, tmp_path, given, match):
    given = {"size": SIZE, "seconds": SECONDS, "workers": 1} | given
    with pytest.raises(ValueError, match=match):
        pack(folder, tmp_path / "out", **given)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option, value", [("size", 7), ("seed", -1)])
def test_scenes_that_cannot_be_are_no_damage_and_block_no_folder(
    option, value, tmp_path
):
    with pytest.raises(ValueError, match=f"{option}.* {value}.*; need seed ≥ 0 and si"):
        pack_scenes("train", 2, tmp_path / "out", **{"size": 8, option: value})
    assert not (tmp_path / "out").exists()
    pack_scenes("train", 2, tmp_path / "out", 8, SECONDS, workers=1, progress=False)


@pytest.mark.parametrize(
    "split, count", [("train", None), ("train", 0), ("wild", 1000)]
)
def test_bad_counts_of_scenes_are_refused(tmp_path, split, count):
    with pytest.raises(ValueError, match=f"count is {count}; {split} has "):
        pack_scenes(split, count, tmp_path)


# --- the command line ---------------------------------------------------------


def test_commands_pack_and_verify(tmp_path, capsys):
    for kind, suffix in (("frames", "jpg"), ("audio", "wav")):
        (tmp_path / "root" / kind).mkdir(parents=True)
        for name in "abc":
            path = tmp_path / "root" / kind / f"{name * 11}_000001.{suffix}"
            if kind == "audio":
                soundfile.write(path, np.full(500, 77, np.int16), 16_000)
            else:
                Image.new("RGB", (20, 10), "green").save(path)
    path.write_bytes(b"damaged")
    root, out = str(tmp_path / "root"), str(tmp_path / "out")
    common = ["--size", "8", "--seconds", "0.1", "--workers", "1"]
    assert main(["pack", root, "--out", out, *common]) == 1
    assert "error: clip ccccccccccc_000001 cannot be" in capsys.readouterr().err
    assert main(["pack", root, "--out", out, *common, "--skip-damaged"]) == 0
    assert (
        f"{out}: 2 clips packed, 1 skipped\n  ccccccccccc_0" in capsys.readouterr().out
    )
    assert main(["verify", out]) == 0
    assert f"{out}: 2 clips, every checksum right" in capsys.readouterr().out

    names = tmp_path / "list.txt"
    names.write_text("bbbbbbbbbbb_000001\n")
    listed = ["--list", str(names), *common]
    assert main(["pack", root, "--out", out + "2", *listed]) == 0
    assert open_store(out + "2").names == ["bbbbbbbbbbb_000001"]
    assert main(["pack", root, "--out", out, *listed]) == 1
    assert "begun with other settings: clips is 1, was 3" in capsys.readouterr().err


def test_commands_compose_scenes(tmp_path, capsys):
    out = str(tmp_path / "out")
    assert (
        main(
            [
                "scenes",
                "--out",
                out,
                "--split",
                "test",
                "--count",
                "3",
                "--size",
                "16",
                "--seed",
                "4",
                "--workers",
                "1",
            ]
        )
        == 0
    )
    assert open_store(out).names == [f"test/4/{k}" for k in range(3)]
    assert capsys.readouterr().out == f"{out}: 3 clips packed, 0 skipped\n"
    assert main(["verify", str(tmp_path)]) == 1
    assert "there is no index.jsonl" in capsys.readouterr().err
    assert main(["scenes", "--out", out]) == 1
    assert (
        "error: --count is missing: how many scenes of train?"
        in capsys.readouterr().err
    )


def test_the_training_loop_runs_from_a_store(tmp_path):
    """The loop sees the same tensors, so the same losses come out."""
    from sslnb.training.loop import TrainConfig, train

    config = TrainConfig(epochs=1, batch=4, precision="fp32")
    val = load_scenes("val", 3)
    losses = []
    pack_scenes("train", 5, tmp_path / "store", 96, workers=1)
    for k, clips in enumerate(
        (load_scenes("train", 5), open_store(tmp_path / "store"))
    ):
        losses += [m["loss"] for m in train(config, clips, val, tmp_path / str(k))]
    assert losses[0] == losses[1]
