"""What is the same in every run, and how far other processors and threads differ.

    sslnb bench repeat                     # about two minutes; the table of CONTRIBUTING.md
    sslnb bench repeat --golden            # writes tests/golden.json anew

The same computations in processes of their own: once more, with more threads, with the
instructions of older processors (which PyTorch, oneDNN, MKL, NumPy and libjpeg-turbo can
be told to use), and a training shared by two processes. A difference is the largest of
any value, relative to the largest value. tests/golden.json holds some values of each,
and tests/test_golden.py compares them within BOUNDS on whatever processor it runs.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from benchmarks.ledger import ROOT, record, rows
from sslnb.data.clips import load_scenes
from sslnb.data.media import LAPTOP_AUDIO, spectrogram
from sslnb.data.soundstamps import SPLITS, compose
from sslnb.data.store.clips import open_store, pack_scenes
from sslnb.files import CHECKPOINT
from sslnb.model import SoundLocaliser
from sslnb.training import parallel
from sslnb.training.checkpoint import states
from sslnb.training.loop import shuffled_batches, train
from sslnb.training.recipe import TrainConfig
from sslnb.training.step import Branches, total_loss, two_views

GOLDEN = ROOT / "tests" / "golden.json"
GUIDE = ROOT / "CONTRIBUTING.md"
BEGIN, END = "<!-- differences: made by sslnb bench repeat -->", "<!-- end -->"
CONFIG = TrainConfig(epochs=3, batch=4, precision="fp32", curriculum=0.0)
FORMS = ("release", "paper", "attention")
SCENES, KEPT = 8, 32  # a split; values of each quantity in tests/golden.json
# What is computed, what it is, and how far it may differ from tests/golden.json
BOUNDS = {
    "spectrogram": ("spectrograms", 1e-4),
    "views": ("transformed images and sounds, by T_app, T_geo and T_mask", 1e-4),
    "map": ("response maps of the model in `data/checkpoint`", 1e-4),
    "losses": ("the loss of a step, in its three forms", 1e-4),
    "gradient": ("its gradient", 5e-2),
    "bf16": ("the loss of a step in bf16", 1e-2),
    "trained": ("the loss over three epochs", 3e-2),
    "weights": ("the weights after them", 1e-1),
}
OLD = {
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "MKL_CBWR": "COMPATIBLE",
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
    "JSIMD_FORCENONE": "1",
}
AVX2 = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "AVX2",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
}
# How it is computed: figure, its column in the table, environment
WAYS = {
    "again": ("once more", {}),
    "threads_2": ("2 threads", {"OMP_NUM_THREADS": "2"}),
    "threads_4": ("4 threads", {"OMP_NUM_THREADS": "4"}),
    "avx2": ("AVX2", AVX2),
    "sse": ("SSE4.1", OLD),
    "processes_2": ("2 processes", {}),
}


def digests():
    """{what: 16 hexadecimal digits} of all that is made of integers: it never differs."""
    found = {}
    for split in SPLITS:
        for index in range(SCENES):
            scene = compose(split, 0, index, 96)
            parts = (scene.image, scene.wave, scene.mask)
            content = b"".join(part.tobytes() for part in parts)
            found[f"{split}/{index}"] = hashlib.sha256(content).hexdigest()[:16]
    order = torch.cat(shuffled_batches(CONFIG, 1, 8_000)).numpy().tobytes()
    return found | {"order": hashlib.sha256(order).hexdigest()[:16]}


def trained(clips):
    """{"trained": loss of each epoch, "weights": all of them}, of a run on 8 clips."""
    val = load_scenes("val", 4)
    with tempfile.TemporaryDirectory() as folder:
        losses = [m["loss"] for m in train(CONFIG, clips, val, folder)]
        if not parallel.is_main():
            return {}
        state = load_file(states(Path(folder))[-1])
    weights = [v.flatten().float() for k, v in state.items() if k.startswith("model.")]
    return {"trained": torch.tensor(losses), "weights": torch.cat(weights)}


def values():
    """{name of BOUNDS: its values (N,)}."""
    clips = load_scenes("train", SCENES)
    images, sounds = clips.images / 255, spectrogram(clips.waves, LAPTOP_AUDIO)
    found = {"spectrogram": sounds}
    model = SoundLocaliser.load(CHECKPOINT)
    found["map"] = model.predict(images, clips.waves)

    def step(**changed):
        config = replace(CONFIG, **changed)
        torch.manual_seed(0)
        model = SoundLocaliser.from_preset("laptop")
        generator = torch.Generator().manual_seed(0)
        views = two_views(config, images, sounds, generator)
        branches = Branches(model, config.precision)
        return model, views, total_loss(branches, config, views)[0]

    model, views, loss = step()
    loss.backward()
    seen = [x.flatten() for x in (*views.images, *views.spectrograms, views.theta)]
    found["views"] = torch.cat(seen)
    found["gradient"] = torch.cat([p.grad.flatten() for p in model.parameters()])
    with torch.no_grad():
        found["losses"] = torch.stack([step(form=form)[2] for form in FORMS])
        found["bf16"] = step(precision="bf16")[2]
    found |= trained(clips)
    return {name: found[name].detach().flatten().float() for name in BOUNDS}


def difference(found, expected, largest=None):
    """The largest difference of two sets of values, relative to the largest value."""
    largest = expected.abs().max() if largest is None else largest
    return float((found - expected).abs().max() / largest)


def golden():
    """What tests/golden.json holds: digests, and KEPT values of each quantity."""
    kept = {}
    for name, found in values().items():
        at = torch.linspace(0, len(found) - 1, min(KEPT, len(found))).long()
        kept[name] = {
            "largest": float(f"{found.abs().max():.7g}"),
            "values": [float(f"{value:.7g}") for value in found[at].tolist()],
        }
    return {"digests": digests(), "values": kept}


def compute(path):
    """What a process of its own computes, into a file; one of several only trains."""
    with parallel.process_group():
        if parallel.world_size() > 1:
            found, told = trained(load_scenes("train", SCENES)), {}
        else:
            found, told = values(), digests()
        if parallel.is_main():
            save_file(found, path, {"digests": json.dumps(told)})


def computed(path, environment=None, processes=1):
    """Values and digests of a process of its own, or of several."""
    program = [sys.executable]
    if processes > 1:
        program += ["-m", "torch.distributed.run", "--standalone"]
        program += ["--nproc-per-node", str(processes)]
    subprocess.run(
        [*program, "-m", "benchmarks.repeat", "--compute", str(path)],
        cwd=ROOT,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "OMP_DYNAMIC": "FALSE",
            "GLOO_SOCKET_IFNAME": "lo",
            **(environment or {}),
        },
        check=True,
    )
    with safe_open(path, framework="pt") as file:
        return load_file(path), json.loads(file.metadata()["digests"])


def stores_differing(root, clips):
    """How many of these scenes differ where 1, 2 or 3 processes pack them."""
    differing = 0
    for workers in (1, 2, 3):
        store = root / f"store-{workers}"
        pack_scenes("train", len(clips), store, 96, workers=workers, progress=False)
        packed = open_store(store)
        for a, b in ((packed.images, clips.images), (packed.waves, clips.waves)):
            differing += int((a != b).flatten(1).any(1).sum())
    return differing


def table():
    """The table of CONTRIBUTING.md: what was measured last, and the bounds."""
    measured = [row["figures"] for row in rows() if "repeat_bf16_max" in row["figures"]]
    figures = measured[-1] if measured else {}
    heads = [head for head, _ in WAYS.values()]
    lines = [
        f"| largest difference, relative | {' | '.join(heads)} | bound |",
        "|---|" + "---|" * (len(heads) + 1),
    ]
    for name, (what, bound) in BOUNDS.items():
        found = [figures.get(f"repeat_{way}_{name}") for way in WAYS]
        cells = ["–" if x is None else f"{x:.0e}" if x else "0" for x in found]
        lines.append(f"| {what} | {' | '.join(cells)} | {bound:.0e} |")
    return "\n".join(lines)


def guide(text):
    """CONTRIBUTING.md with today's table between its marks."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.split(END, 1)[1]}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--golden", action="store_true", help="write tests/golden.json, and end"
    )
    parser.add_argument("--compute", help="file that one process writes its values to")
    options = parser.parse_args()
    if options.compute:
        return compute(options.compute)
    if options.golden:
        text = json.dumps(golden(), indent=0) + "\n"
        return GOLDEN.write_text(text, encoding="utf-8")
    figures, differing = {}, 0
    with tempfile.TemporaryDirectory(prefix="sslnb-") as root:
        expected, digest = computed(f"{root}/first")
        for way, (what, environment) in WAYS.items():
            processes = 2 if way == "processes_2" else 1
            found, told = computed(f"{root}/{way}", environment, processes)
            differing += sum(told[name] != digest[name] for name in told)
            for name, value in found.items():
                figures[f"repeat_{way}_{name}"] = difference(value, expected[name])
            print(what, *(f"{k} {figures[f'repeat_{way}_{k}']:.1e}" for k in found))
        differing += stores_differing(Path(root), load_scenes("train", 200))
    worst = {
        name: max(figures.get(f"repeat_{way}_{name}", 0) for way in WAYS)
        for name in BOUNDS
    }
    same = max(value for name, value in figures.items() if "_again_" in name)
    figures |= {f"repeat_{name}_max": value for name, value in worst.items()}
    figures |= {"repeat_same_processor_max": same, "repeat_scenes_differing": differing}
    record(
        figures,
        f"{len(digest) - 1} scenes, and 200 packed by 1, 2 and 3 processes; model F of "
        f"the laptop's size, one step and {CONFIG.epochs} epochs of {SCENES} clips; once "
        "more, with other threads, with older instructions, in two processes, against "
        "one thread: largest difference, relative to the largest value",
    )
    GUIDE.write_text(guide(GUIDE.read_text(encoding="utf-8")), encoding="utf-8")
    broken = [name for name, value in worst.items() if value > BOUNDS[name][1]]
    if broken or differing or same:
        raise SystemExit(f"error: not the same, or above a bound: {broken}, see above")


if __name__ == "__main__":
    main()
