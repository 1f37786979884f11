"""Figures of notebook 05 and appendix A3: training curves."""

from collections.abc import Mapping, Sequence
from typing import Any

import seaborn
from matplotlib.figure import Figure

from sslnb.teach.plot.base import PALETTE, grid


def curves(
    histories: Mapping[str, Sequence[Mapping[str, Any]]],
    names: Sequence[str],
    labels: Mapping[str, str] | None = None,
    x: str = "epoch",
) -> Figure:
    """Training curves: a panel per metric of `names`, a line per run.

    histories: {run: its metrics, one dict per epoch}; labels: {metric: axis label}.
    """
    figure, axes = grid(len(names), columns=min(len(names), 3), size=4, aspect=0.75)
    styles = ["-", "--", ":", "-."]
    for ax, name in zip(axes, names):
        for k, (run, history) in enumerate(histories.items()):
            points = [(m[x], m[name]) for m in history if name in m]
            if points:
                ax.plot(
                    *zip(*points),
                    styles[k % 4],
                    label=run,
                    marker="o",
                    ms=3,
                    color=PALETTE[k % len(PALETTE)],
                )
        ax.set(xlabel=x, ylabel=(labels or {}).get(name, name))
        ax.xaxis.get_major_locator().set_params(integer=True)
        seaborn.despine(ax=ax)
    if len(histories) > 1:
        axes[0].legend()
    return figure
