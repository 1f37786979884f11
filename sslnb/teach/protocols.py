"""Bookkeeping of appendix A2: one model's maps scored by other rules, with the votes of
several annotators, and on cropped images.

>>> reports = {rule: evaluate(maps, voted(boxes), rule) for rule in ("lvs", "flickr")}
>>> Markdown(rule_table(reports))
"""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from sslnb.data import soundstamps
from sslnb.data.field.annotations import Annotation
from sslnb.localise.protocols import PROTOCOLS
from sslnb.localise.report import Report
from sslnb.teach.plot.base import table
from sslnb.teach.published import SIMULATED


def rule_table(found: Mapping[str, Report | ValueError]) -> str:
    """Scores of the same maps by several rules, and how they change; the first is `lvs`.

    An error stands in place of the scores. The last column has the change for the
    simulated detector on VGG-SS, where SIMULATED has the rule.
    """
    names = ("cIoU", "AUC", "adaptive cIoU", "pointing")
    rows: list[list[str]] = []
    first: float | None = None
    for rule, report in found.items():
        name = f"`{rule}`" if rule in PROTOCOLS else rule
        if isinstance(report, ValueError):
            rows.append([name, str(report), *"––––––"])
            continue
        value = 100 * report.scores["cIoU"].value
        first = value if first is None else first
        change = SIMULATED.get(rule, np.nan) - SIMULATED["lvs"]
        scores = [f"{100 * report.scores[name].value:.1f}" for name in names]
        rows.append(
            [
                name,
                scores[0],
                f"{value - first:+.1f}",
                *scores[1:],
                f"{100 * report.per_clip['covered'].mean():.0f}",
                "–" if np.isnan(change) else f"{change:+.2f}",
            ]
        )
    header = ["rule", "cIoU", "change", *names[1:], "mask, % of the image"]
    return table([*header, "change on VGG-SS, simulated"], rows)


def adaptive_rate(report: Report, name: str) -> float:
    """Adaptive cIoU, a fraction, of "the model" or of a baseline of its report."""
    if name == "the model":
        return report.scores["adaptive cIoU"].value
    return report.baselines[name]["adaptive cIoU"]


def three_annotators(box: Sequence[float]) -> list[tuple[float, ...]]:
    """Boxes that three people might draw around one object: made up."""
    x0, y0, x1, y1 = box
    w, h = x1 - x0, y1 - y0
    boxes = [
        (x0, y0, x1, y1),
        (x0 + 0.3 * w, y0 - 0.1 * h, x1, y1 - 0.3 * h),
        (x0 - 0.3 * w, y0 + 0.3 * h, x1 - 0.2 * w, y1),
    ]
    return [tuple(min(max(edge, 0.0), 1.0) for edge in b) for b in boxes]


def voted(annotations: Mapping[str, Annotation]) -> dict[str, Annotation]:
    """Annotations by three annotators: as given, or made up from one annotator's boxes."""
    return {
        name: found
        if found.annotators > 1
        else Annotation(
            tuple(vote for box in found.boxes for vote in three_annotators(box)),
            found.label,
            3,
        )
        for name, found in annotations.items()
    }


def wild_frames() -> list[Image.Image]:
    """The photographs of `wild` in their native shapes, in the order of its scenes."""
    frames = []
    for row in soundstamps.table("wild"):
        with Image.open(soundstamps.ROOT / row["file"]) as image:
            frames.append(image.convert("RGB"))
    return frames


def cropped_boxes(
    boxes: Sequence[Sequence[float]], width: float, height: float
) -> list[list[float]]:
    """Boxes of a frame, in the normalised coordinates of its middle square."""
    sides = np.array([width, height] * 2) / min(width, height)
    moved = (np.array(boxes).reshape(-1, 4) - 0.5) * sides + 0.5
    return moved.clip(0, 1).tolist()
