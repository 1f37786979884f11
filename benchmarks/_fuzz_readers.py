"""The readers that fuzz gives hostile files to: valid files of each, and what it reads.

A reader's folder is its own. `seeds` writes what else must lie there, and gives valid
contents of the one file that is mutated; `read` reads all that a user would, and
asserts what must hold of whatever comes out.
"""

import ast
import json
import os
import pickle
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from itertools import islice

import nbformat
import numpy as np
import soundfile
import torch
from papermill.translators import PythonTranslator
from PIL import Image

from benchmarks import _fuzz_mutate as mutate
from sslnb.data.clips import leaks
from sslnb.data.decode import read_clip
from sslnb.data.field.annotations import damage, read_annotations, truth_of
from sslnb.data.field.lists import read_labels, read_list
from sslnb.data.media import LAPTOP_AUDIO, load_audio, load_image
from sslnb.data.store.arrays import INDEX
from sslnb.data.store.clips import open_store, verify
from sslnb.data.store.packing import Job, pack
from sslnb.experiments.grid import read_grid
from sslnb.experiments.pace import Pace
from sslnb.experiments.results import read_results
from sslnb.localise.footage import Sound, open_footage, read_frames
from sslnb.localise.maps import open_maps, read_map
from sslnb.model import PRESETS, SoundLocaliser, write
from sslnb.release import published_name, read_release
from sslnb.series.run import fit_parameters
from sslnb.training.checkpoint import history_in, last_model
from sslnb.training.recipe import TrainConfig
from sslnb.training.state import network

MARK = "executed"  # the file that a pickle would make if it were executed
TINY = replace(PRESETS["laptop"], width=2)
STATE = "state-0001.safetensors"


@dataclass(frozen=True)
class Reader:
    """file: name of what is mutated; seeds(folder) -> contents; read(path).

    alter: how its files are mutated beside the fuzzer's own way; named: what an error
    names, where not the file or its folder; words: for the fuzzer to put in.
    """

    file: str
    seeds: Callable
    read: Callable
    alter: Callable | None = None
    named: str | None = None
    words: tuple[str, ...] = ()


class Trap:
    """What a pickle holds to have a file made where it is executed."""

    def __init__(self, folder):
        self.path = str(folder / MARK)

    def __reduce__(self):
        return open, (self.path, "w")


def saved(save, *args, **how):
    """What `save(file, …)` writes, as bytes."""
    target = BytesIO()
    save(target, *args, **how)
    return target.getvalue()


# --- images, sounds, videos


def image_seeds(folder):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 4), np.uint8)
    colour, deep = (
        Image.fromarray(pixels[..., :3]),
        pixels[..., 0].astype(np.uint16) * 257,
    )
    rotated = Image.Exif()
    rotated[0x0112] = 6
    several = [
        (colour, {"format": "PNG"}),
        (Image.fromarray(pixels), {"format": "PNG"}),
        (colour.convert("P"), {"format": "PNG", "transparency": 3}),
        (Image.fromarray(deep), {"format": "PNG"}),
        (colour, {"format": "JPEG", "exif": rotated}),
        (colour.convert("CMYK"), {"format": "JPEG"}),
        (colour, {"format": "WEBP"}),
        (colour.convert("P"), {"format": "GIF"}),
        (colour, {"format": "BMP"}),
        (colour, {"format": "PPM"}),
        (colour, {"format": "TIFF", "compression": "tiff_lzw"}),
        (Image.fromarray(deep), {"format": "TIFF"}),
    ]
    return [saved(lambda f, i, how: i.save(f, **how), i, how) for i, how in several]


def read_image(path):
    image = load_image(path, 16)
    assert image.shape == (3, 16, 16) and image.min() >= 0 and image.max() <= 1


def sound_seeds(folder):
    wave = np.sin(np.arange(800) / 9).astype(np.float32)
    both = np.stack([wave, -wave / 2], axis=1)
    bad = wave.copy()
    bad[3:5] = np.nan, np.inf
    several = [
        *((wave, 8_000, kind, None) for kind in ("WAV", "AIFF", "AU", "W64", "CAF")),
        *((both, 44_100, kind, None) for kind in ("FLAC", "OGG", "MP3")),
        (bad, 16_000, "WAV", "FLOAT"),
        (both, 16_000, "WAV", "IMA_ADPCM"),
        (wave[:0], 16_000, "WAV", "PCM_16"),
    ]
    from tests.media_files import make_video

    m4a = make_video(folder / "seed.m4a", 0.3, video=None, rate=16_000)
    return [
        saved(soundfile.write, data, rate, kind, format=format)
        for data, rate, format, kind in several
    ] + [m4a.read_bytes()]


def read_sound(path):
    wave = load_audio(path)
    assert wave.shape == (LAPTOP_AUDIO.samples,) and wave.isfinite().all()


def video_seeds(folder):
    from tests.media_files import make_video

    how = {"seconds": 1.2, "size": (48, 32), "fps": 10, "rate": 16_000, "channels": 1}
    codecs = [("mp4", "h264", "aac"), ("mkv", "h264", "aac"), ("webm", "vp9", "opus")]
    return [
        make_video(
            folder / f"seed.{suffix}",
            **how | ({"rate": 48_000} if audio == "opus" else {}),
            video=video,
            audio=audio,
            bit_rate=40_000,
        ).read_bytes()
        for suffix, video, audio in codecs
    ]


def read_video(path):
    image, wave = read_clip(path, 64)
    assert image.mode == "RGB" and wave.dtype == np.int16 and len(wave) >= 16_000


def read_footage(path):
    footage = open_footage(path)
    sound = Sound(footage, LAPTOP_AUDIO)
    for time, image in islice(read_frames(footage, fps=5), 20):
        assert image.dtype == np.uint8 and image.shape[2] == 3
        assert sound.around(time).shape == (LAPTOP_AUDIO.samples,)


# --- annotations, lists, maps


def json_seeds(folder):
    boxes = [[0.1, 0.2, 0.5, 0.6], [0, 0, 1, 1]]
    entries = [
        {"file": f"-0jeONf82d{k}_00002{k}", "class": "dog", "bbox": boxes[:k]}
        for k in range(3)
    ]
    return [json.dumps(entries).encode(), json.dumps(entries[:1]).encode()]


def xml_seeds(folder):
    box = "<bbox>{}</bbox>".format
    edges = [
        f"<{n}>{v}</{n}>" for n, v in zip(("a", "b", "c", "d"), (0.1, 0.2, 0.5, 0.6))
    ]
    pixels = "<n>one</n><a>10</a><b>20</b><c>200</c><d>220</d>"
    texts = [box("".join(edges)), box("0.1 0.2 0.5 0.6"), box(pixels) * 3, ""]
    return [
        f'<?xml version="1.0"?><annotation>{t}</annotation>'.encode() for t in texts
    ]


def read_boxes(path):
    found = read_annotations(path)
    str(damage(found))
    "\n".join(found).encode()
    {annotation.label for annotation in found.values()}
    for annotation in found.values():
        truth = truth_of(annotation)
        assert truth.shape == (224, 224) and truth.min() >= 0 and truth.max() <= 1


def list_seeds(folder):
    names = "-0jeONf82dE_000021", "a/b/---g-f_I2yQ_000001.mp4", "x_30000_40000", "é.jpg"
    return [
        "\n".join(names).encode(),
        b"\xef\xbb\xbfone\r\ntwo\r\n",
        "один".encode("utf-16"),
    ]


def table_seeds(folder):
    rows = '-0jeONf82dE,21,"dog, howling",train\n---g-f_I2yQ,1,cat,test\n'
    return [rows.encode(), b"-0jeONf82dE_000021.mp4,dog\nb.mp4,cat\n"]


def read_names(path):
    names = read_list(path)
    assert names and len(set(names)) == len(names)
    assert not any(set(name) & {"\n", "\r", "\0"} for name in names)
    "\n".join(names).encode()
    leaks(names, names[:2])


def read_table(path):
    read_names(path)
    assert all(label and label.strip() == label for label in read_labels(path).values())


def map_seeds(folder):
    values = np.linspace(-1, 1, 12).reshape(3, 4)
    kinds = [
        values,
        values.astype(np.float16),
        values > 0,
        (values * 9).astype(np.int8),
    ]
    traps = np.array([Trap(folder)] * 2, dtype=object)
    return [
        saved(np.savez, **{f"clip {k}": each for k, each in enumerate(kinds)}),
        saved(np.savez_compressed, clip=values.astype(">f4")),
        saved(np.savez, clip=traps),
        pickle.dumps(Trap(folder)),
    ]


def read_maps(path):
    with open_maps(path) as maps:
        for name in islice(maps, 20):
            values = read_map(maps, name)
            assert values.ndim == 2 and np.isfinite(values).all()


# --- weights


def release_seeds(folder):
    tensors = {published_name(name): value for name, value in TEMPLATE.items()}
    scalar = np.float64(0.5)
    right = {"state_dict": tensors, "epoch": 3, "best": scalar}
    lvs = {"model_state_dict": {f"module.{k}": v for k, v in tensors.items()}}
    options = {"_use_new_zipfile_serialization": False}
    return [
        saved(lambda f: torch.save(right, f)),
        saved(lambda f: torch.save(lvs, f)),
        saved(lambda f: torch.save(right, f, **options)),
        saved(lambda f: torch.save({"state_dict": Trap(folder)}, f)),
        pickle.dumps(Trap(folder)),
    ]


TEMPLATE = {
    "image_encoder.0.weight": torch.ones(2, 3, 2, 2),
    "image_encoder.4.bn1.bias": torch.ones(2),
    "audio_encoder.0.weight": torch.ones(2, 1, 2, 2),
    "audio_encoder.1.num_batches_tracked": torch.tensor(7),
}


def read_weights(path):
    found = read_release(path, TEMPLATE).state
    assert all(v.shape == TEMPLATE[k].shape for k, v in found.items())


def model_seeds(file):
    def seeds(folder):
        SoundLocaliser(TINY).save(folder, training={"epochs": 1}, metrics={"loss": 1.5})
        return [(folder / file).read_bytes()]

    return seeds


def read_model(path):
    model = SoundLocaliser.load(path.parent)
    assert all(value.isfinite().all() for value in model.state_dict().values())


def state_seeds(folder):
    torch.manual_seed(0)
    config = TrainConfig(blocks=(1,), ema_decay=0.0)
    weights = SoundLocaliser(network(config)).state_dict()
    tensors = {f"model.{name}": value for name, value in weights.items()}
    clips = {"number": 2, "names": "a"}
    said = {
        "config": asdict(config),
        "data": {"training": clips},
        "history": [{"loss": 1.0}],
    }
    write(tensors, folder / STATE, {"state": json.dumps(said)})
    return [(folder / STATE).read_bytes()]


def read_state(path):
    last_model(path.parent)


def history_seeds(folder):
    return [b'{"epoch": 1, "loss": 0.5}\n{"epoch": 2, "loss": 0.25, "val_AUC": 0.5}\n']


def read_history(path):
    assert all(isinstance(metrics, dict) for metrics in history_in(path.parent))


# --- packed stores


def make_store(folder):
    def read(index):
        rng = np.random.default_rng(index)
        facts = {"label": "dog", "boxes": [[0.1, 0.2, 0.5, 0.6]]}
        if index == 2:
            raise ValueError("damaged")
        return facts, (rng.integers(0, 256, (3, 4, 4)), rng.integers(-9, 9, 16))

    rows = {"frames": ("uint8", (3, 4, 4)), "waves": ("int16", (16,))}
    names = [f"clip {k}" for k in range(4)]
    job = Job(read, range(4), names, rows, {"source": "here", "clips": 4})
    pack(job, folder, 1, skip_damaged=True, progress=False)


def store_seeds(file):
    def seeds(folder):
        make_store(folder)
        content = (folder / file).read_bytes()
        half = content[: content.rindex(b"\n", 0, -1) + 1]
        return [content, half] if file == INDEX else [content]

    return seeds


def read_store(path):
    clips = open_store(path.parent)
    assert clips.images.dtype == torch.uint8 and clips.waves.dtype == torch.int16
    assert len(clips.images) == len(clips.waves) == len(clips.boxes) == len(clips)
    if len(clips):
        clips.images.index_select(0, torch.tensor([0])).sum()
    clips.fingerprint()
    verify(path.parent, 1, progress=False)


# --- settings


def grid_seeds(folder):
    return [
        GRID.encode(),
        b'[variants]\nA = { model = "A" }\n[experiments]\nx = ["A"]\n',
    ]


GRID = """seeds = [ 0, 1 ]
[base]
regime = "clips"
batch = 16
crop = [ 0.3, 1.0 ]
learning_rate = 3e-3
[experiments]
one = [ "A", "short" ]
[variants]
A = { model = "A", clips = 40, half = "0a" }
short = { like = "plain", epochs = 3, seeds = [ 0, 2 ], kind = "trained" }
both = { like = [ "short", "plain" ], smooth = 1.5, blocks = [ 1, 1, 1, 1 ] }
[parts.plain]
model = "B"
warmup = 0.0
cosine_decay = false
"""


def read_runs(path):
    for run in read_grid(path).select():
        assert run.path(path.parent).parent == path.parent  # no `../` in its name
        assert len(run.digest) == 8 and run.clips >= 1 and run.config.epochs >= 1


def settings_seeds(folder):
    given = asdict(TrainConfig()), asdict(TrainConfig.from_preset("paper", smooth=1.0))
    return [
        json.dumps(each).encode()
        for each in (*given, {"preset": "paper", "model": "D"})
    ]


def read_settings(path):
    """As what a run's JSON holds, or the options of `sslnb train`."""
    try:
        given = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return
    if isinstance(given, dict):
        config = TrainConfig.from_preset(**{"preset": "laptop"} | given)
        assert TrainConfig(**json.loads(json.dumps(asdict(config)))) == config
        assert config.learning_rate < float("inf") and type(config.epochs) is int


DEFAULTS = "n = 3\nx = 0.5\ntext = 'a'\nflag = True\nnothing = None\nseveral = [1, 2]\n"


def parameter_seeds(folder):
    cell = nbformat.v4.new_code_cell(DEFAULTS, metadata={"tags": ["parameters"]})
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), folder / "book.ipynb")
    texts = ("n\n7", "x\n1e-3", "text\nit's", "flag\nFalse", "nothing\n[1, {2: 3}]")
    return [text.encode() for text in (*texts, "several\n[4, 'a', -5j]", "none\n1")]


def read_parameters(path):
    """A name and a value, as after `sslnb run -p`: what papermill writes is that value."""
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    name, _, value = text.partition("\n")
    found = fit_parameters(path.parent / "book.ipynb", {name: value})
    *_, line = ast.parse(PythonTranslator.codify(found)).body
    assert repr({name: ast.literal_eval(line.value)}) == repr(found)


def result_seeds(folder):
    (folder / "runs").mkdir()
    (folder / "clips.json").write_text("{}")
    result = {"variant": "A", "seed": 0, "seconds": 1.5, "seconds_measuring": 2}
    packed = {"ciou": {"bits": "gA==", "shape": [1]}}
    return [json.dumps(result | {"per_clip": {"test": packed}}).encode()]


def read_result(path):
    target = path.parent / "runs" / "A-0.json"
    os.replace(path, target)
    Pace(target.parent)
    results = read_results(path.parent)
    for variant, runs in results.runs.items():
        for seed in runs:
            results.columns(variant, "test", seed)


READERS = {
    "image": Reader("image", image_seeds, read_image, mutate.in_png),
    "sound": Reader("sound", sound_seeds, read_sound),
    "video": Reader("clip.mp4", video_seeds, read_video),
    "footage": Reader("footage.mp4", video_seeds, read_footage),
    "boxes in JSON": Reader("vggss.json", json_seeds, read_boxes, mutate.in_json),
    "boxes in XML": Reader(
        "anno/clip.xml",
        xml_seeds,
        lambda path: read_boxes(path.parent),
        words=(
            "<!DOCTYPE a [<!ENTITY b 'c'>]>",
            "&b;",
            "encoding='utf-7'",
            "<bbox>",
            "nan",
        ),
    ),
    "list": Reader(
        "list.txt", list_seeds, read_names, words=("../", ".mp4", "_30000_40000")
    ),
    "table": Reader(
        "table.csv", table_seeds, read_table, words=('"', ",", "_30000_40000")
    ),
    "maps": Reader(
        "maps.npz", map_seeds, read_maps, mutate.in_zip, r"^(negative )?map of clip"
    ),
    "published weights": Reader(
        "x.pth.tar", release_seeds, read_weights, mutate.in_zip
    ),
    "model card": Reader(
        "model.json", model_seeds("model.json"), read_model, mutate.in_json
    ),
    "model weights": Reader(
        "model.safetensors",
        model_seeds("model.safetensors"),
        read_model,
        mutate.in_safetensors,
    ),
    "state of a run": Reader(STATE, state_seeds, read_state, mutate.in_safetensors),
    "metrics of a run": Reader(
        "metrics.jsonl", history_seeds, read_history, mutate.in_lines
    ),
    "index of a store": Reader(INDEX, store_seeds(INDEX), read_store, mutate.in_lines),
    "array of a store": Reader("frames.npy", store_seeds("frames.npy"), read_store),
    "grid": Reader("grid.toml", grid_seeds, read_runs, mutate.in_toml),
    "settings": Reader(
        "settings.json",
        settings_seeds,
        read_settings,
        mutate.in_json,
        r"^(unknown setting|\w+ is )",
    ),
    "parameters": Reader(
        "given",
        parameter_seeds,
        read_parameters,
        named=r"^book\.ipynb",
        words=("\n", "'", "(", "e9"),
    ),
    "result": Reader(
        "result.json",
        result_seeds,
        read_result,
        mutate.in_json,
        r"^run |was not measured",
    ),
}
