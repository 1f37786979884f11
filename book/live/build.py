"""The live pages: the model in the reader's own browser, as a folder of plain files.

    python book/live/build.py OUT
    python -m http.server --bind 127.0.0.1 -d OUT          # then look at it
    python book/live/build.py OUT --home ../index.html     # as a part of the book

OUT can be served by any file server, also offline, at any address: all links are
relative. It holds the pages, the encoders (`sslnb export`), the runtime from the npm
registry (`npm ci`, once; package-lock.json pins it), and samples of SoundStamps with
their credits. Nothing of it is committed.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile
from matplotlib import colormaps
from PIL import Image

from sslnb.data import soundstamps
from sslnb.data.soundstamps import RATE, Scene, compose
from sslnb.data.stamps import classes, table
from sslnb.export import export
from sslnb.files import CHECKPOINT, atomic_write
from sslnb.model import SoundLocaliser
from sslnb.teach import plot

HERE = Path(__file__).resolve().parent
MODULES = HERE / "node_modules"
RUNTIME = MODULES / "onnxruntime-web"
# Renamed, because plain file servers do not all know .mjs; of the npm package's many
# builds these are the smallest, without WebGPU.
FILES = {
    "ort.wasm.min.mjs": "ort.js",
    "ort-wasm-simd-threaded.mjs": "runtime.js",
    "ort-wasm-simd-threaded.wasm": "runtime.wasm",
}
# Scenes of several objects, so that another sound asks for another place, and ordinary
# photographs that the model has never seen: (split, index), chosen by eye
KNOWN = [("test", 12), ("test", 22), ("test", 4), ("test", 16), ("test", 17)]
NEW = [("wild", 1), ("wild", 0), ("wild", 3)]
PIXELS = 224
SEARCHED = 200  # scenes of `test` in which a sound of a silent object is looked for
SILENCE = "silence"
TITLES = {"mouse_rat": "mouse"}


def main(arguments: list[str] | None = None) -> None:
    """Build the folder that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder to write to")
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT, help="the model")
    parser.add_argument("--home", default="", help="address of the series, relative")
    given = parser.parse_args(arguments)
    try:
        build(given.out, given.checkpoint, given.home)
    except (OSError, ValueError, RuntimeError) as error:
        sys.exit(f"error: {error}")
    print(
        f"{given.out}: serve it with `python -m http.server --bind 127.0.0.1 -d {given.out}`"
    )


def build(out: Path, checkpoint: Path = CHECKPOINT, home: str = "") -> None:
    """Assemble the live pages in a folder.

    Errors are those of `SoundLocaliser.open` and `export`; RuntimeError where npm is
    missing or fails.
    """
    model = SoundLocaliser.open(checkpoint)
    install()
    shutil.copytree(HERE / "pages", out, dirs_exist_ok=True)
    (out / "ort").mkdir(exist_ok=True)
    for name, plain in FILES.items():
        shutil.copyfile(RUNTIME / "dist" / name, out / "ort" / plain)
    export(model, out / "model")
    write(out / "colours.json", colours())
    write(out / "samples" / "samples.json", samples(out / "samples", home))


def install() -> None:
    """onnxruntime-web from the npm registry, as package-lock.json pins it, once."""
    lock = json.loads((HERE / "package-lock.json").read_text(encoding="utf-8"))
    wanted = lock["packages"]["node_modules/onnxruntime-web"]["version"]
    card = RUNTIME / "package.json"
    if card.exists() and json.loads(card.read_text())["version"] == wanted:
        return
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeError(
            f"the live pages need npm, to fetch onnxruntime-web {wanted}: install Node.js"
        )
    done = subprocess.run([npm, "ci"], cwd=HERE, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"`npm ci` in {HERE} failed: {done.stderr.strip()}")


def write(path: Path, values: object) -> None:
    """Values as a JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(values) + "\n", encoding="utf-8")


def colours() -> dict[str, list[list[int]]]:
    """The colour scales of the notebooks' figures: 256 colours [R, G, B] each."""
    levels = np.linspace(0, 1, 256)
    return {
        name: (255 * colormaps[scale](levels)[:, :3]).round().astype(int).tolist()
        for name, scale in (("map", plot.MAP), ("signed", plot.SIGNED))
    }


def samples(folder: Path, home: str) -> dict[str, object]:
    """Write images and sounds of SoundStamps; what the pages need to know of them.

    A sound is that of its scene. A silent object's is that of the first scene of `test`
    in which it sounds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    images, sounds, used = [], {}, {}
    for split, index in KNOWN + NEW:
        scene = compose(split, 0, index, PIXELS)
        name = f"{split}_{index}.png"
        Image.fromarray(scene.image).save(folder / name, optimize=True)
        objects = " and ".join(map(words, (scene.class_name, *scene.silent)))
        group = "known" if (split, index) in KNOWN else "new"
        title = words(scene.class_name)
        images.append({"file": name, "title": objects, "group": group, "sound": title})
        for file in photos_of(scene):
            used.setdefault(file, []).append(f"image “{objects}”")
        sounds.setdefault(scene.class_name, scene)
        for silent in scene.silent:
            sounds.setdefault(silent, None)
    found = [compose("test", 0, index, 8) for index in range(SEARCHED)]
    files = []
    for name, scene in sorted(sounds.items()):
        scene = scene or next((s for s in found if s.class_name == name), None)
        if scene is None:
            raise ValueError(f"no scene of test has the sound of {name}")
        soundfile.write(folder / f"{name}.wav", scene.wave, RATE, subtype="PCM_16")
        files.append({"file": f"{name}.wav", "title": words(name)})
        used.setdefault(scene.sound, []).append(f"sound “{words(name)}”")
    silence = np.zeros(RATE * soundstamps.SECONDS, np.int16)
    soundfile.write(folder / f"{SILENCE}.wav", silence, RATE, subtype="PCM_16")
    files.append({"file": f"{SILENCE}.wav", "title": SILENCE})
    return {
        "images": images,
        "sounds": files,
        "credits": credits(used),
        "classes": len(classes("train")),
        "home": home,
    }


def words(name: str) -> str:
    """A class's name, to be read."""
    return TITLES.get(name, name.replace("_", " "))


def photos_of(scene: Scene) -> list[str]:
    """Files of the photographs that a scene shows, the sounding one first."""
    rows = {row["file"]: row for row in table("photos")}
    silent = [
        file
        for name in scene.silent
        for file, row in rows.items()
        if row["class"] == name and row["split"] == "train"
    ]
    return list(dict.fromkeys([scene.photo, *silent, scene.background]))


def credits(used: dict[str, list[str]]) -> list[dict[str, str]]:
    """What each file of SoundStamps is used for, its licence with author, its source."""
    rows = {row["file"]: row for name in soundstamps.TABLES for row in table(name)}
    return [
        {
            "what": f"{', '.join(dict.fromkeys(where))}: {file}",
            "licence": rows[file]["licence"],
            "source": f"{rows[file]['package']}: {rows[file]['source']}",
        }
        for file, where in used.items()
    ]


if __name__ == "__main__":
    main()
