"""A report of scores as text: the protocol in full, then the scores beside baselines.

>>> print("\\n".join(paragraphs(report)))          # which is print(report)
"""

from collections.abc import Iterator

from sslnb.data.field.annotations import shortened
from sslnb.localise.intervals import percent


def paragraphs(report) -> Iterator[str]:
    """Lines of text of a Report, from the protocol to the scores by object size."""
    scored = report.per_clip[report.per_clip["scored"]]
    yield str(report.protocol)
    yield (
        f"intervals   95 %, bootstrap over {report.trials}, percentile, "
        f"{report.resamples:,} resamples"
    )
    yield f"\nScored on {len(scored):,} of {len(report.per_clip):,} clips."
    if report.missing:
        yield f"{len(report.missing):,} clips have no map: {shortened(report.missing, 20)}"
    if report.unknown:
        yield (
            f"{len(report.unknown):,} maps belong to no annotated clip and are left out: "
            + shortened(report.unknown)
        )
    if report.constant:
        yield (
            f"{len(report.constant):,} maps are constant and score 0: "
            + shortened(report.constant)
        )
    covered = 100 * scored["covered"]
    yield (
        f"Masks cover {covered.min():.1f} to {covered.max():.1f} % of the frame, "
        f"{covered.mean():.1f} % on average; {(covered == 0).sum():,} are empty, "
        f"{(covered == 100).sum():,} are the whole frame."
    )
    bound = report.baselines.get("oracle", {}).get("cIoU", 1)
    if report.scores["cIoU"].value > bound:
        yield (
            "cIoU exceeds what masks of half the image can reach: the maps have\n"
            "plateaus at their median, so that their masks do not cover half of it."
        )
    yield f"\nAnnotations: {report.damage}"
    yield "\n" + _main_table(report)
    yield "Centre prior: a disc over half of the image, and no model. Oracle: the best such mask."
    if report.negatives:
        yield (
            f"\nAP to AUC_N with {report.negatives:,} pairs without a visible sound. "
            "AP, max-F1: by confidence, the\nmean of the top quarter of (S + 1) / 2. "
            "LocAcc: cIoU of visible sounds. pIA: fraction of the\nimage above one threshold, "
            f"{report.threshold:.6g} ({report.threshold_from}).\nAUC_N: area under the "
            "fraction of pairs with pIA ≤ 0, 0.05, … 1."
        )
    if report.listening:
        yield (
            "\nListening test: the same images with other sounds, against the same ground "
            f"truth.\n{report.listening}"
        )
    yield "\n" + _size_table(report)


def _main_table(report):
    lines = [
        f"{'per cent':<14}{'score':>8}   {'95 % interval':<16}"
        + "".join(f"{name:>18}" for name in report.baselines)
    ]
    for name, (value, low, high) in report.scores.items():
        besides = (values.get(name) for values in report.baselines.values())
        lines.append(
            f"{name:<14}{percent(value):>8}   "
            + f"{percent(low)} to {percent(high)}".ljust(16)
            + "".join(f"{percent(value):>18}" for value in besides)
        )
    return "\n".join(lines)


def _size_table(report):
    lines = [
        "By object size: Σ g below 32², 96², 144² and up to 224² pixels",
        f"{'':<8}{'clips':>6}   {'cIoU, 95 % interval':<22}"
        f"{'AUC':>8}{'adaptive cIoU':>16}{'pointing':>10}",
    ]
    for group, scores in report.by_size.items():
        lines.append(
            f"{group:<8}{scores['clips']:>6,}   {scores['cIoU']!s:<22}"
            f"{percent(scores['AUC'].value):>8}"
            f"{percent(scores['adaptive cIoU'].value):>16}"
            f"{percent(scores['pointing'].value):>10}"
        )
    return "\n".join(lines)
