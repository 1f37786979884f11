"""The pseudo-mask of a map under sliders (notebook 03).

>>> pseudo_masks(image, response)   # ε and τ of equation 5
"""

import math

import ipywidgets
import matplotlib.pyplot as plt
from PIL import Image
from torch import Tensor

from sslnb.teach import plot

BILINEAR = Image.Resampling.BILINEAR


def pseudo_masks(
    image: Tensor, response: Tensor, epsilon: float = 0.65, tau: float = 0.03
) -> ipywidgets.VBox:
    """The pseudo-mask m of a map (eq. 5) and the cells that P weights, by ε and τ.

    image (3, S, S) in [0, 1] or uint8; response (h, w), its map. Returns a box with
    `controls` (epsilon, tau), `view` (the image of the figure) and `figure`.
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
    width, height = figure.canvas.get_width_height()
    view = ipywidgets.Image(format="png", width=width, height=height)

    def render(_=None):
        values = (control.value for control in controls.values())
        plot.pseudo_mask(image, response, *values, figure)
        view.value = plot.png(plot.drawn(figure))

    for control in controls.values():
        control.observe(render, "value")
    render()
    box = ipywidgets.VBox([ipywidgets.HBox(list(controls.values())), view])
    box.controls, box.view, box.figure = controls, view, figure
    return box
