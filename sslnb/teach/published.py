"""Numbers on the field's data, for appendix A2 and beside the scores of notebook 06:
measured on VGG-SS, counted in training lists, and printed in papers.

>>> published.VGG_SS["centre prior"]
(33.95, 37.43)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sslnb.data.clips import leaks
from sslnb.data.field.annotations import read_annotations
from sslnb.data.field.download import SOURCES
from sslnb.data.field.lists import read_list
from sslnb.teach.plot.base import table

# --- what was measured on the field's data; tests measure it again ------------------

# On VGG-SS's 5,158 clips under `lvs`, without a model: (cIoU, AUC), per cent.
VGG_SS = {
    "nothing marked": (0.0, 2.5),
    "whole image": (21.95, 31.25),
    "centre prior": (33.95, 37.43),
    "oracle": (50.48, 49.47),
}
VGG_SS_ADAPTIVE = (43.66, 42.93)  # of the centre prior, with adaptive thresholds
VGG_SS_BELOW_QUARTER = 0.4946  # clips with boxes below a quarter of the image
VGG_SS_CROPPED = 0.65  # IoU of box and cropped box, if all its frames were 16:9

# cIoU on VGG-SS, per cent, of maps.simulated_maps (14 × 14 cells) by one rule or another.
SIMULATED = {
    "lvs": 39.05,
    "≥ in place of >": 39.10,
    "align_corners=True": 39.30,
    "bicubic": 38.46,
    "ezvsl": 39.36,
    "slavc at the median": 38.83,
}


# --- test clips in training lists ---------------------------------------------------


@dataclass(frozen=True)
class Leaky:
    """Test clips that a published training list holds; counted from the lists.

    train, test: their names in SOURCES, or where a list lies. clips and videos: test
    clips that leak by name, and by source video (None where that is not counted).
    """

    name: str
    train: str
    test: str
    clips: int
    videos: int | None


TEST_CLIPS = {"vggss": 5158, "openset-heard": 2425, "flickr-test": 249}
LEAKS = (
    Leaky("the paper, VGGSound-144k", "vggsound-144k", "vggss", 0, 2),
    Leaky("release, default list", "vggsound-190k", "vggss", 4916, None),
    Leaky("release, retrieval's 144k", "retrieval-144k", "vggss", 3565, 3598),
    Leaky("release, open set", "openset-70k", "openset-heard", 2299, 2308),
    Leaky("release, Flickr-10k", "flickr-10k", "flickr-test", 2, 2),
    Leaky("EZ-VSL, SLAVC, SSLalignment", "ez-vsl-144k", "vggss", 3709, 3784),
    Leaky("FNAC", "FNAC_AVL/metadata/vggss_144k.txt", "vggss", 3715, None),
    Leaky(
        "EZ-VSL, Flickr-144k",
        "EZ-VSL/metadata/flickr_144k.csv",
        "flickr-test",
        20,
        None,
    ),
)


def leak_rows(lists: str | Path = "") -> list[list[str]]:
    """A row of text for each of LEAKS; where `lists` has both files, counted anew.

    ValueError where a new count is not the recorded one.
    """
    rows = []
    for known in LEAKS:
        files = [
            Path(lists, SOURCES[name].file)
            for name in (known.train, known.test)
            if name in SOURCES
        ]
        anew = bool(lists) and len(files) == 2 and all(map(Path.exists, files))
        if anew:
            found = leaks(*map(_names, files))
            count = len(found.clips), len(found.videos)
            if count[0] != known.clips or known.videos not in (None, count[1]):
                raise ValueError(
                    f"{files[0]} holds {count} test clips by name and by video; "
                    f"recorded are {(known.clips, known.videos)}"
                )
        total = TEST_CLIPS[known.test]
        rows.append(
            [
                known.name,
                f"{known.clips:,} of {total:,}",
                f"{known.clips / total:.0%}",
                "–" if known.videos is None else f"{known.videos:,}",
                f"`{known.train}`, `{known.test}`",
                "counted now" if anew else "on record",
            ]
        )
    return rows


def leak_table(lists: str | Path = "") -> str:
    """LEAKS as a table; where `lists` has a row's files, counted anew (`leak_rows`)."""
    header = ["training list", "test clips in it", "", "by source video"]
    return table([*header, "`sslnb download`", "this number"], leak_rows(lists))


def _names(path):
    return (read_annotations if path.suffix == ".json" else read_list)(path)


# --- what papers print --------------------------------------------------------------


@dataclass(frozen=True)
class Published:
    """One row of a published table, per cent; each pair is (cIoU, AUC), None: not given.

    source: where it is printed. trained: on what. leaked: VGG-SS clips in its training
    list. pretrained: whether the image encoder is. None: not known.
    """

    name: str
    source: str
    trained: str
    leaked: int | None = None
    pretrained: bool | None = None
    clips: str = "?"
    vggss: tuple[float, float | None] | None = None
    flickr: tuple[float, float | None] | None = None


_144K, _EVERY, _FEWER = "VGGSound-144k", "5,158", "4,911"
PUBLISHED = (
    Published("Attention", "the paper, table 3", _144K, None, None, "?", (18.5, 30.2), (66.0, 55.8)),
    Published("AVO", "the paper, table 3", _144K, None, None, "?", (29.7, 35.7)),
    Published("SSPL", "the paper, table 3", _144K, None, None, "?", (33.9, 38.0), (76.7, 60.5)),
    Published("LVS", "the paper, table 3", _144K, None, None, _EVERY, (34.4, 38.2), (71.9, 58.2)),
    Published("HPS", "the paper, table 3", _144K, None, None, "?", (34.6, 38.0), (76.8, 59.2)),
    Published("the paper, A", "the paper, table 1", _144K, 0, False, _FEWER, (32.92, 37.44)),
    Published("the paper, F", "the paper, tables 1, 3", _144K, 0, False, _FEWER, (38.63, 39.65), (79.5, 61.2)),
    Published("EZ-VSL + object guidance", "its authors", _144K, 3709, True, "on disk", (38.85, 39.54), (83.94, 63.60)),
    Published("FNAC", "its authors", _144K, 3715, True, "on disk", (39.50, 39.66)),
    Published("SSLalignment", "its authors", _144K, 3709, False, "4,655", (39.16, None), (84.8, None)),
    Published("SSLalignment, pretrained", "its authors", _144K, 3709, True, "4,655", (41.42, None), (86.0, None)),
    Published("LVS", "the paper, table 2", "Flickr-10k", None, None, "?", None, (58.2, 52.5)),
    Published("LVS", "the paper, table 2", "Flickr-144k", None, None, "?", None, (69.9, 57.3)),
    Published("the paper, F", "the paper, table 2", "Flickr-10k", None, False, "249", None, (75.5, 58.8)),
    Published("the paper, F", "the paper, table 2", "Flickr-144k", None, False, "249", None, (81.5, 61.1)),
)  # fmt: skip

# Table 4 of the paper, open set: (cIoU, AUC), per cent; of 110 classes in training, and
# of 110 that were not.
OPEN_SET = {
    "LVS": ((28.9, 36.2), (26.3, 34.7)),
    "the paper": ((39.0, 40.3), (36.5, 38.6)),
}


def pair(scores: Sequence[float | None] | None) -> str:
    """(cIoU, AUC) in per cent as text, with the digits that they have: 38.63 / 39.65."""
    if scores is None:
        return "–"
    return " / ".join(
        "–" if x is None else f"{x:.2f}".removesuffix("0") for x in scores
    )


def published_table() -> str:
    """PUBLISHED in short: what was trained on, the scores as printed, and where."""
    rows = [
        [p.name, p.trained, p.clips, pair(p.vggss), pair(p.flickr), p.source]
        for p in PUBLISHED
    ]
    scored = ("test clips", "VGG-SS: cIoU / AUC", "Flickr-SoundNet: cIoU / AUC")
    return table(["method", "trained on", *scored, "printed in"], rows)


def published_points() -> list[tuple[str, float, bool | None]]:
    """(method, cIoU on VGG-SS, whether test clips leaked into training, None where nobody
    compared the lists); † marks a pretrained encoder."""
    return [
        (
            p.name + (" †" if p.pretrained else ""),
            p.vggss[0],
            None if p.leaked is None else p.leaked > 0,
        )
        for p in PUBLISHED
        if p.vggss
    ]
