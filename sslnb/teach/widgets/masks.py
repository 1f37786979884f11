"""The pseudo-mask of a map under sliders (notebook 03).

>>> pseudo_masks(image, response)   # ε and τ of equation 5
"""

import math

import ipywidgets
import matplotlib.pyplot as plt
from torch import Tensor

from sslnb.losses import weighted_mean
from sslnb.teach import plot
from sslnb.teach.widgets.base import Picture, Status, row


def pseudo_masks(
    image: Tensor, response: Tensor, epsilon: float = 0.65, tau: float = 0.03
) -> ipywidgets.VBox:
    """The pseudo-mask m of a map (eq. 5) and the cells that P weights, by ε and τ.

    image (3, S, S) in [0, 1] or uint8; response (h, w), its map. Returns a box with
    `controls` (epsilon, tau), `view` (the image of the figure), `status` and `figure`.
    """
    controls = {
        "epsilon": ipywidgets.FloatSlider(
            value=epsilon, min=0.1, max=1, step=0.01, description="ε"
        ),
        "tau": ipywidgets.FloatLogSlider(
            value=tau,
            min=math.log10(tau) - 1,
            max=math.log10(tau) + 2,
            step=0.05,
            description="τ",
        ),
    }
    figure = plot.pseudo_mask(image, response, epsilon, tau)
    plot.freeze_layout(figure)
    plt.close(figure)
    view, status = Picture(), Status()

    def render(_=None):
        now = {name: control.value for name, control in controls.items()}
        plot.pseudo_mask(image, response, **now, figure=figure)
        words = in_words(response, **now)
        view.show(
            plot.png(plot.drawn(figure)),
            "A response map over its image, its pseudo-mask, and a histogram of the "
            f"cells' cosines. {words}",
        )
        status.say(words)

    for control in controls.values():
        control.observe(render, "value")
    render()
    box = ipywidgets.VBox([row(*controls.values()), view, status])
    box.controls, box.view, box.status, box.figure = controls, view, status, figure
    return box


def in_words(response: Tensor, epsilon: float, tau: float) -> str:
    """What the mask of a map (h, w) lights, and what P makes of it."""
    z = (response - epsilon) / tau
    m, above = z.sigmoid(), int((z > 0).sum())
    mean = weighted_mean(response, z)
    return (
        f"ε = {epsilon:.2f}, τ = {tau:.3g}: {above} of {m.numel()} cells are above ε; "
        f"m is {m.min():.2f} to {m.max():.2f}, in all {m.sum():.1f} cells. "
        f"P = {mean:.2f}, where the mean of all cells is {response.mean():.2f}."
    )
