"""Files made to do harm: each is read right or named, at once and in little memory."""

import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from contextlib import contextmanager

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from safetensors.torch import save_file

from sslnb.data.decode import ClipError, read_clip
from sslnb.data.field.annotations import damage, read_annotations
from sslnb.data.field.layouts import open_folder
from sslnb.data.field.lists import read_labels, read_list
from sslnb.data.media import LONG, LONGEST, load_audio, load_image
from sslnb.data.store.arrays import INDEX, to_lines
from sslnb.data.store.clips import open_store
from sslnb.data.store.packing import Job, pack
from sslnb.experiments.grid import read_grid
from sslnb.localise.maps import LARGEST, open_maps, read_map
from sslnb.model import PRESETS, SoundLocaliser
from sslnb.release import read_release
from sslnb.training.checkpoint import last_model

MEMORY = 3 * 2**29  # bytes, as in benchmarks/fuzz.py


@contextmanager
def refused(path, said=None, error=(OSError, ValueError)):
    """The block ends in a short error that names the file, and takes little memory."""
    before = peak()
    with pytest.raises(error, match=said) as found:
        yield
    assert str(path) in str(found.value) and len(str(found.value)) < 2_000
    assert peak() - before < MEMORY


def peak():
    """Bytes that this process has had at most."""
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith("VmHWM"))
    return int(line.split()[1]) << 10


# --- what says that it is larger than it is, or unpacks to more than there is room for


def png(width, height, body):
    def chunk(kind, data):
        sums = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + sums

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", head), chunk(b"IDAT", body), chunk(b"IEND", b"")]
    )


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("size", [(10**5, 10**5), (12, 7_733_257), (2**31 - 1, 1)])
def test_a_png_of_a_few_bytes_and_ten_thousand_megapixels(tmp_path, size):
    path = tmp_path / "bomb.png"
    path.write_bytes(png(*size, zlib.compress(bytes(10**6))))
    with refused(path, error=OSError):
        load_image(path, 96)


def test_an_image_in_postscript_starts_no_program(tmp_path):
    """Pillow would start Ghostscript."""
    path = tmp_path / "a.jpg"
    Image.new("RGB", (8, 8)).save(path, format="EPS")
    with refused(path, "not an image", OSError):
        load_image(path, 96)


def test_a_wav_that_says_four_thousand_million_samples(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(1_000), 16_000)
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = struct.pack("<I", 2**32 - 1)
    path.write_bytes(content)
    assert load_audio(path).shape == (48_000,)  # as much of it as there is


def flac(path, samples):
    """A FLAC whose header says how many samples it has."""
    soundfile.write(path, np.zeros(5_000), 16_000, format="FLAC")
    content = bytearray(path.read_bytes())
    (high, low) = divmod(samples, 2**32)
    content[21] = content[21] & 0xF0 | high  # 36 bits, in bytes 21 to 25
    content[22:26] = struct.pack(">I", low)
    path.write_bytes(content)


@pytest.mark.parametrize("samples", [0, LONGEST + 1, 2**36 - 1])
def test_a_flac_that_says_how_many_samples_it_has(tmp_path, samples):
    path, before = tmp_path / "a.flac", peak()
    flac(path, samples)
    try:
        assert load_audio(path).abs().max() == 0
    except (OSError, ValueError) as error:
        assert str(path) in str(error)
    assert peak() - before < MEMORY


@pytest.mark.parametrize("rate", [1, 999, 768_001, 100_679_296, 2**31 - 1])
def test_a_sample_rate_that_nothing_has(tmp_path, rate):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(1_000), rate)
    with refused(path, "sample rate", ValueError):
        load_audio(path)


@pytest.mark.parametrize("rate", [1_000, 44_117, 767_999])
def test_a_strange_sample_rate_takes_little_memory(tmp_path, rate):
    path, before = tmp_path / "a.wav", peak()
    soundfile.write(path, np.zeros(4_000), rate)
    assert load_audio(path).abs().max() == 0 and peak() - before < MEMORY


def test_of_a_long_sound_the_middle_is_that_of_the_whole_resampled(tmp_path):
    path = tmp_path / "a.wav"
    time = np.arange(LONG + 99_001) / 48_000
    wave = 0.5 * np.sin(2 * np.pi * (50 + time) * time)  # no second like another
    soundfile.write(path, wave, 48_000, subtype="FLOAT")
    half = np.sinc(np.arange(-300, 301) / 3) * np.hanning(601)
    middle = (-(-len(wave) // 3) - 48_000) // 2
    low = np.convolve(
        wave[3 * middle - 300 : 3 * (middle + 48_000) + 300], half / half.sum()
    )
    low = low[600:-600:3][:48_000]
    found = load_audio(path).numpy()
    assert np.abs(found - low)[100:-100].max() < 0.01


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 500, 999])
def test_samples_that_are_no_numbers(tmp_path, bad, place):
    path = tmp_path / "a.wav"
    wave = np.zeros(1_000, np.float32)
    wave[place] = bad
    soundfile.write(path, wave, 16_000, subtype="FLOAT")
    with refused(path, "finite", ValueError):
        load_audio(path)


def npy(shape, dtype="<f8"):
    header = repr({"descr": dtype, "fortran_order": False, "shape": shape})
    header = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header


def zipped(path, name, content, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(name, content)


def test_a_map_whose_header_says_a_thousand_million_cells(tmp_path):
    path = tmp_path / "maps.npz"
    zipped(path, "a.npy", npy((10**9, 10**9)) + bytes(64))
    with open_maps(path) as maps, pytest.raises(ValueError, match="map of clip 'a'"):
        read_map(maps, "a")


def test_a_map_that_unpacks_to_gigabytes(tmp_path):
    path = tmp_path / "maps.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("a.npy", "w", force_zip64=True) as entry:
            entry.write(npy((2**15, 2**13)))
            for _ in range(2**5):
                entry.write(bytes(2**23 + 1))
    assert path.stat().st_size < 2**20 and LARGEST < 2**5 * (2**23 + 1)
    with refused(path, "at most"), open_maps(path):
        pass


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 10**9, 0])
def test_weights_whose_header_has_no_end(tmp_path, length):
    SoundLocaliser(PRESETS["laptop"]).save(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", length) + b"{}")
    (tmp_path / "state-0001.safetensors").write_bytes(struct.pack("<Q", length) + b"{}")
    for read in (SoundLocaliser.load, last_model):
        with refused(tmp_path, "damaged", ValueError):
            read(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"width": 4_096},
        {"width": 10**9},
        {"blocks": [100] * 4},
        {"blocks": [10**9, 1, 1, 1]},
        {"smooth": 1e9},
        {"strides": [1, 2, 2, 0]},
        {"image_size": "96"},
    ],
)
def test_a_card_that_asks_for_a_model_larger_than_memory(tmp_path, change):
    SoundLocaliser(PRESETS["laptop"]).save(tmp_path)
    path = tmp_path / "model.json"
    card = json.loads(path.read_text())
    path.write_text(json.dumps({"model": card["model"] | change}))
    with refused(tmp_path, "damaged", ValueError):
        SoundLocaliser.load(tmp_path)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(tmp_path, bad):
    model = SoundLocaliser(PRESETS["laptop"])
    with torch.no_grad():
        model.image_encoder[0].weight[0, 0, 0, 0] = bad
    model.save(tmp_path)
    with refused(tmp_path, "image_encoder.0.weight has values that are not finite"):
        SoundLocaliser.load(tmp_path)


def test_weights_of_half_precision_are_not_taken_for_others(tmp_path):
    model = SoundLocaliser(PRESETS["laptop"])
    model.save(tmp_path)
    halves = {name: value.half() for name, value in model.state_dict().items()}
    save_file(halves, tmp_path / "model.safetensors")
    with refused(tmp_path, "float16"):
        SoundLocaliser.load(tmp_path)


@pytest.mark.slow
def test_a_million_boxes(tmp_path):
    box = [0.25, 0.25, 0.5, 0.5]
    entries = [{"file": f"clip {k}", "bbox": [box] * 1_000} for k in range(1_000)]
    path, before = tmp_path / "vggss.json", peak()
    path.write_text(json.dumps(entries))
    found = read_annotations(path)
    assert sum(len(each.boxes) for each in found.values()) == 10**6
    assert peak() - before < MEMORY


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("vggss.json", read_annotations),
        ("anno/clip.xml", lambda path: read_annotations(path.parent)),
        ("train.txt", read_list),
        ("vggsound.csv", read_labels),
    ],
)
def test_a_list_or_annotation_of_a_terabyte(tmp_path, name, read):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    with open(path, "wb") as file:
        file.truncate(2**40)  # a hole: it takes no room
    with refused(path, "1,099,511,627,776 bytes", error=ValueError):
        read(path)


# --- entities, deep nesting, numbers without end


LAUGHS = "".join(f"<!ENTITY l{k + 1} '{f'&l{k};' * 10}'>" for k in range(9)).join(
    ["<!DOCTYPE a [<!ENTITY l0 'lol'>", "]><a><bbox>&l9;</bbox></a>"]
)


@pytest.mark.parametrize(
    "text",
    [
        LAUGHS,
        "<!DOCTYPE a [<!ENTITY b SYSTEM 'SECRET'>]><a><bbox>&b;</bbox></a>",
        "<!DOCTYPE a SYSTEM 'SECRET'><a><bbox>&b;</bbox></a>",
        "<?xml version='1.0' encoding='utf-7'?><a/>",
        "<?xml version='1.0' encoding='nothing'?><a/>",
        "<a>" * 100_000,
    ],
)
def test_xml_that_expands_or_asks_for_other_files(tmp_path, text):
    secret = tmp_path / "secret"
    secret.write_text("0.1 0.2 0.3 0.4")
    path = tmp_path / "anno" / "clip.xml"
    path.parent.mkdir()
    path.write_text(text.replace("SECRET", secret.as_uri()))
    with refused(path, error=ValueError):
        read_annotations(path.parent)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '[{"file": "a", "bbox": [[0, 0, 1, ' + "9" * 5_000 + "]]}]",
        '[{"file": "a", "bbox": [[0, 0, 1, 1e999]]}]',
        '[{"file": "a", "bbox": [' + str([0.5] * 10_000) + "]}]",
        '[{"file": "a", "class": ["dog"], "bbox": []}]',
        '[{"file": "\\ud800", "bbox": []}]',
        '[{"file": "a\\nb", "bbox": []}]',
        '[{"file": "' + "a" * 10_000 + '", "bbox": []}]',
    ],
)
def test_json_that_is_deep_long_or_of_another_kind(tmp_path, text):
    path = tmp_path / "vggss.json"
    path.write_text(text)
    with refused(path, error=ValueError):
        read_annotations(path)


def test_a_coordinate_of_four_hundred_digits_below_zero_is_damage_as_others(tmp_path):
    path = tmp_path / "vggss.json"
    path.write_text('[{"file": "a", "bbox": [[-1' + "0" * 400 + ", 0, 1, 1]]}]")
    assert damage(read_annotations(path)).outside == 1


def test_parts_of_parts_of_parts_do_not_multiply(tmp_path):
    path = tmp_path / "grid.toml"
    parts = [f'[parts.p{k}]\nlike = ["p{k + 1}", "p{k + 1}"]\n' for k in range(60)]
    path.write_text(
        '[variants]\nA = { like = "p0" }\n' + "".join(parts) + "[parts.p60]\n"
    )
    assert len(read_grid(path).variants["A"]) == 1


# --- pickles under other names: nothing in them is executed


class Trap:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return open, (str(self.mark), "w")


def test_pickles_under_every_name_are_not_executed(tmp_path):
    mark = tmp_path / "executed"
    content = pickle.dumps(Trap(mark))
    traps = np.array([Trap(mark)], dtype=object)
    SoundLocaliser(PRESETS["laptop"]).save(tmp_path / "model")
    make_store(tmp_path / "store")
    for path, read in (
        (tmp_path / "x.pth.tar", lambda path: read_release(path, {})),
        (tmp_path / "maps.npz", open_maps),
        (
            tmp_path / "model" / "model.safetensors",
            lambda p: SoundLocaliser.load(p.parent),
        ),
        (tmp_path / "store" / "frames.npy", lambda path: open_store(path.parent)),
    ):
        path.write_bytes(content)
        with refused(path.parent, error=ValueError):
            read(path)
        if path.suffix in (".npz", ".npy"):
            np.savez(path, a=traps) if path.suffix == ".npz" else np.save(path, traps)
            with pytest.raises(ValueError, match=r"clip 'a'|frames\.npy"):
                with read(path) as maps:
                    read_map(maps, "a")
    assert not mark.exists()
    pickle.loads(content).close()  # noqa: S301  what must not happen above
    assert mark.exists()  # so it would have been


def test_an_archive_that_says_how_long_a_name_is(tmp_path):
    """tarfile would ask for as much memory."""
    path, entry = tmp_path / "x.pth.tar", tarfile.TarInfo("././@LongLink")
    entry.type, entry.size = tarfile.GNUTYPE_LONGNAME, 2**40
    path.write_bytes(entry.tobuf(tarfile.GNU_FORMAT) + bytes(1_024))
    with refused(path, "archive", ValueError):
        read_release(path, {})


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.SYMTYPE, tarfile.REGTYPE])
def test_an_archive_under_the_name_of_weights_is_not_unpacked(tmp_path, kind):
    """torch.load would unpack it, and wait for ever for what comes out of a pipe."""
    path = tmp_path / "x.pth.tar"
    with tarfile.open(path, "w") as archive:
        entry = tarfile.TarInfo("storages")
        entry.type, entry.linkname = kind, str(tmp_path / "secret")
        archive.addfile(entry, io.BytesIO())
    with refused(path, "archive", ValueError):
        read_release(path, {})


# --- names, links and pipes


def make_store(folder, **job):
    rows = {"frames": ("uint8", (3, 4, 4)), "waves": ("int16", (16,))}
    pack(
        Job(lambda k: ({}, (np.zeros((3, 4, 4)), np.zeros(16))), [0], ["a"], rows, job),
        folder,
        1,
        progress=False,
    )


@pytest.mark.parametrize("name", ["../outside/frames", "/etc/passwd", "", "a/b", "a.b"])
def test_a_store_does_not_read_outside_of_its_folder(tmp_path, name):
    make_store(tmp_path / "store")
    make_store(tmp_path / "outside")
    index = tmp_path / "store" / INDEX
    head, *others = [json.loads(line) for line in index.read_text().splitlines()][:-1]
    for record in (head["arrays"], others[0]["crc32"]):
        record[name] = record.pop("frames")
    lines = to_lines([head, *others])
    index.write_bytes(lines + to_lines([{"complete": zlib.crc32(lines)}]))
    with refused(index, "no name of an array", ValueError):
        open_store(tmp_path / "store")


@pytest.mark.parametrize("name", [INDEX, "frames.npy"])
def test_a_store_is_not_written_through_a_link(tmp_path, name):
    target, store = tmp_path / "target", tmp_path / "store"
    target.write_text("what must stay")
    store.mkdir()
    (store / INDEX).touch()
    (store / name).unlink(missing_ok=True)
    (store / name).symlink_to(target)
    with refused(store / name, "is a link", ValueError):
        make_store(store)
    assert target.read_text() == "what must stay"


@pytest.mark.parametrize("name", ["../../evil", "/etc/cron.d/x", "a/b", "", ".hidden"])
def test_a_variant_does_not_write_outside_of_the_results(tmp_path, name):
    path = tmp_path / "grid.toml"
    path.write_text(f'[variants]\n"{name}" = {{ model = "A" }}\n')
    with refused(
        path, "its name has a character that names of files have not", ValueError
    ):
        read_grid(path)


def test_a_pipe_is_not_waited_for(tmp_path):
    for folder, name in (("frames", "a.jpg"), ("audio", "a.wav")):
        (tmp_path / folder).mkdir()
        os.mkfifo(tmp_path / folder / name)
    clip = open_folder(tmp_path).clips[0]
    with refused(clip.frame, "no file", OSError):
        load_image(clip.frame, 96)
    with refused(clip.audio, "no file", OSError):
        load_audio(clip.audio)
    with refused(clip.audio, "no file", ClipError):
        read_clip(clip.audio)


STRANGE = [
    b"a b.jpg",
    b"a'b.jpg",
    b"-rf.jpg",
    b"%s.jpg",
    "\u200fé.jpg".encode(),
    b"a.b.jpg",
]
REFUSED = [b'a"b.jpg', b"a\nb.jpg", b"a\x7fb.jpg", b"\xff\xfe.jpg", b"{a}.jpg"]


@pytest.mark.parametrize("name", [*STRANGE, *REFUSED])
def test_a_folder_with_a_strange_name_is_read_or_the_name_is_said(
    tmp_path, name, capsys
):
    root = os.fsencode(tmp_path)
    for folder, file in ((b"frames", name), (b"audio", name[:-4] + b".wav")):
        os.makedirs(os.path.join(root, folder))
        open(os.path.join(root, folder, file), "w").close()
    if name in STRANGE:
        folder = open_folder(tmp_path)
        print(folder.describe().encode("utf-8").decode())
        assert [clip.frame.exists() for clip in folder.clips] == [True]
    else:
        with refused(tmp_path / "frames", "is not the name of a clip", ValueError):
            open_folder(tmp_path)


def test_one_clip_in_two_spellings_is_not_silently_one(tmp_path):
    for folder in ("frames", "audio"):
        (tmp_path / folder).mkdir()
    (tmp_path / "frames/a.jpg").touch()
    (tmp_path / "audio/a.wav").touch()
    path = tmp_path / "vggss.json"
    boxes = [{"file": name, "bbox": [[0, 0, 0.5, 1]]} for name in ("a", "x/a.mp4")]
    path.write_text(json.dumps(boxes))
    with refused(path, "clip a is in it twice", ValueError):
        open_folder(tmp_path)


@pytest.mark.parametrize(
    "text",
    ["a/.mp4\n", "a\0b\n", "a" * 256 + "\n", "a\u2028b\n", "a\x1b[31m\n", "x_\ud800\n"],
)
def test_a_list_with_a_name_that_cannot_be_printed(tmp_path, text):
    path = tmp_path / "list.txt"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with refused(path, "line 1|decode", ValueError):
        read_list(path)
