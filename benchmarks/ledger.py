"""What benchmarks measured, a row each, and the README's table made of it.

    sslnb bench              # all of them; adds rows to ledger.jsonl
    sslnb bench ledger       # writes the table into README.md anew

A row names the machine, the versions and the commit. What was never measured on a
kind of machine stands in the table as "not measured".
"""

import json
import platform
import re
import subprocess
from datetime import date
from importlib.metadata import version
from pathlib import Path

import torch

from sslnb.experiments.run import commit, machine

ROOT = Path(__file__).resolve().parent.parent
LEDGER = Path(__file__).with_name("ledger.jsonl")
BEGIN, END = "<!-- benchmarks: made by sslnb bench ledger -->", "<!-- end -->"
PACKAGES = ("torch", "numpy", "av", "pillow", "soundfile")
GPU = "one GPU"
CPU, BOTH = (False,), (False, True)
# What the table shows, in its order: figure, what it is, where it is measured.
ROWS = {
    "scenes_per_second": ("SoundStamps scenes composed a second, one thread", CPU),
    "prepare_ratio": (
        "videos to clips, against `ffmpeg` called twice a clip: times as fast",
        CPU,
    ),
    "packed_per_second": ("clips packed a second, two processes", CPU),
    "widget_milliseconds": (
        "response of a widget, milliseconds, the slowest control",
        CPU,
    ),
    "start_seconds": ("time to the first word of a command, seconds, the slowest", CPU),
    "make_run_minutes": (
        "`make run` once installed: all notebooks, and a model trained, minutes",
        CPU,
    ),
    "score_seconds": ("5,158 clips scored with all intervals, seconds", CPU),
    "folder_seconds": ("a prepared folder of 200,000 clips opened, seconds", CPU),
    "retrieval_ratio": (
        "the best 10 of 20,304 sounds for each of them, against the bare matrix "
        "product: times as long",
        CPU,
    ),
    "video_4k_share": (
        "a heatmap over a video of 4K, 30 frames a second: share of real time",
        CPU,
    ),
    "video_480p_share": ("the same of 480p", CPU),
    "video_4k_memory_gb": ("memory at its peak for 4K, however long, GB", CPU),
    "fp32_ratio": (
        "training step at the paper's shapes, fp32: times as fast as the "
        "plain reference",
        BOTH,
    ),
    "bf16_ratio": ("the same in bf16", BOTH),
    "fp32_bound": ("the upper limit in fp32, if only convolutions took time", CPU),
    "bf16_bound": ("the same limit in bf16", CPU),
    "compiled_ratio": ("the same in bf16 by `torch.compile`", (True,)),
    "end_to_end_ratio": ("the same in bf16, end to end from a packed store", BOTH),
    "clips_per_second": ("clips trained on a second, end to end", BOTH),
    "batch": ("batch size of that run", BOTH),
    "waiting_percent": (
        "share of that time for which no clips were ready, per cent",
        BOTH,
    ),
    "embedded_per_second": ("sounds embedded a second, to find the most similar", BOTH),
    "augment_per_second": ("clips augmented a second at 224²", BOTH),
    "neighbours_seconds": (
        "most similar other clip of 20,000 at 512 dimensions, seconds",
        BOTH,
    ),
    "memory_gb": ("memory at its peak in these steps, reference included, GB", BOTH),
    "shared_beside_one": (
        "training on two cores beside a busy program: times as slow as alone",
        CPU,
    ),
    "fixed_beside_one": ("the same with two threads always", CPU),
    "peak_share": (
        "share of the GPU's bf16 peak that the training step reaches",
        (True,),
    ),
    "hours": ("hours for 80 epochs of 144,000 clips", (True,)),
}


def record(figures, told):
    """Print what a benchmark found, and add its row to the ledger.

    figures: {name of ROWS or another: number}; told: the conditions, in words.
    """
    row = {
        "day": date.today().isoformat(),
        "machine": machine(),
        "commit": _code(),
        "gpu": torch.cuda.is_available(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "told": told,
        "figures": {name: _rounded(value) for name, value in figures.items()},
    }
    with open(LEDGER, "a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    print(
        f"{row['machine']}; Python {row['python']}, "
        + ", ".join(f"{k} {v}" for k, v in row["versions"].items())
    )
    print(told)
    for name, value in row["figures"].items():
        print(f"  {value:<10g} {ROWS[name][0] if name in ROWS else name}")


def _code():
    """The commit; "-dirty" where anything but the ledger, which grows, differs from it."""
    command = ["git", "status", "--porcelain", "--", ".", ":!benchmarks/ledger.jsonl"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
    return commit() if found else (commit() or "").removesuffix("-dirty") or None


def _rounded(value):
    """A count as it is, a measurement to four digits."""
    return value if isinstance(value, int) else float(f"{value:.4g}")


def rows(path=None):
    """Every row of the ledger, or of another file of JSON lines, oldest first."""
    path = path or LEDGER
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def newest(gpu=False):
    """{figure: (its value, its row)} of the newest row of each, on a CPU or on a GPU."""
    return {
        name: (value, row)
        for row in rows()
        if row["gpu"] == gpu
        for name, value in row["figures"].items()
    }


def table():
    """The README's table: of every figure the newest row, on a CPU and on a GPU.

    Raised digits say on which machine, where there are several.
    """
    found = {
        (name, gpu): (value, row)
        for gpu in BOTH
        for name, (value, row) in newest(gpu).items()
        if name in ROWS
    }
    used = {}  # machine -> days
    for _, row in found.values():
        used.setdefault(row["machine"], set()).add(row["day"])
    marks = dict(zip(sorted(used), "¹²³⁴⁵⁶⁷⁸⁹")) if len(used) > 1 else {}
    lines = [f"| measured | CPU | {GPU} |", "|---|---|---|"]
    for name, (what, where) in ROWS.items():
        cells = []
        for gpu in BOTH:
            cell = "not measured" if gpu in where else "–"
            if (name, gpu) in found:
                value, row = found[name, gpu]
                cell = f"{value:g} {marks.get(row['machine'], '')}".rstrip()
            cells.append(cell)
        lines.append(f"| {what} | {cells[0]} | {cells[1]} |")
    machines = "; ".join(
        f"{marks.get(machine, '')} {machine} ({', '.join(sorted(days))})".strip()
        for machine, days in sorted(used.items())
    )
    return "\n".join(
        [
            *lines,
            "",
            f"Machines: {machines or 'none yet'}. Medians of rounds in "
            "turn; `benchmarks/ledger.jsonl` has every row, with its commit.",
        ]
    )


def times():
    """{notebook: the newest time that it took on a CPU, as "40 s" or "2 min"}."""
    found = {}
    for row in rows():
        for name, seconds in row["figures"].items():
            if name.startswith("notebook ") and not row["gpu"]:
                short = seconds < 99
                found[name.removeprefix("notebook ")] = (
                    f"{seconds:.0f} s" if short else f"{seconds / 60:.1f} min"
                )
    return found


def readme(text):
    """README.md with today's table between its marks, and each notebook's time."""
    before, rest = text.split(BEGIN)
    text = f"{before}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}"
    for name, taken in times().items():  # the last column of the notebook's row
        row = rf"^(\|.*/{name}\.ipynb\).*\|)[^|]*\|$"
        text = re.sub(row, rf"\1 {taken} |", text, flags=re.MULTILINE)
    return text


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(readme(path.read_text(encoding="utf-8")), encoding="utf-8")
    print(table())
