"""What the widgets share: an image with its words, a status, a sound, controls with names.

>>> view, status = Picture(), Status()
>>> view.show(png, "the map's maximum is on the dog")
>>> status.say("<b>cIoU 0.61</b>, a success")
>>> ipywidgets.VBox([row(angle, flip), view, status])

Tried in JupyterLab 4 and Notebook 7 on what Chromium tells a screen reader. Lists,
checkboxes, buttons and number fields of ipywidgets 8 say their names. Its sliders do
not: the handle is a slider without a name, that of a logarithmic slider says the
exponent, and the readout beside it is no control at all. So `row` gives each slider a
number field with its name in place of that readout. Toggle buttons do not say which one
is pressed: the widgets here have lists instead.

What remains, since only code in the browser could change it: the handle itself stays
without a name, after its field; and a status is a live region that is replaced with its
text, which some screen readers do not announce (then it is read as any other text).

By keyboard: Tab goes from control to control; arrow keys move a number field by one step;
Space opens a list, then arrow keys and Enter choose. The notebook itself takes arrow keys
elsewhere, to go from cell to cell: from a list that is not open, and in Notebook 7 also
from the handle of a slider, which in JupyterLab moves by a step, by more with Page Up and
Page Down, and to its ends with Home and End. Number fields keep them in both.
"""

import base64
import html
from collections.abc import Callable, Sequence
from pathlib import Path

import ipywidgets
import matplotlib
import numpy as np
from IPython.display import Audio
from PIL import ImageDraw, ImageFont

from sslnb.data.soundstamps import RATE

PLAYED = 8_000  # Hz: SoundStamps is silent above 4 kHz
FONTS = Path(matplotlib.get_data_path(), "fonts", "ttf")
FONT = ImageFont.truetype(FONTS / "DejaVuSans.ttf", 13)  # it has Greek letters
LABEL = "6.5rem"  # of every control in front of it, so that they stand in columns


class Picture(ipywidgets.HTML):
    """An image that also says in words what it shows, which `ipywidgets.Image` cannot.

    `png` and `alt` are what was last shown.
    """

    png: bytes = b""
    alt: str = ""

    def show(self, png: bytes, alt: str) -> None:
        """Show an image, with a text for those who do not see it."""
        self.png, self.alt = png, alt
        data = base64.b64encode(png).decode()
        self.value = (
            f'<img class="sslnb-picture" style="max-width: 100%" '
            f'alt="{html.escape(alt)}" src="data:image/png;base64,{data}">'
        )


class Status(ipywidgets.HTML):
    """A text that screen readers announce when it changes."""

    def say(self, text: str) -> None:
        """Show a text, in HTML: what is not ours to write needs `html.escape`."""
        self.value = f'<div role="status" aria-live="polite">{text}</div>'


def play(player: ipywidgets.Audio, wave: np.ndarray) -> None:
    """Give a player a sound of SoundStamps, (T,) int16, in half of its bytes."""
    half = wave[:: RATE // PLAYED].astype(np.float32) / 32768
    player.value = Audio(half, rate=PLAYED, normalize=False).data


def outline(
    draw: ImageDraw.ImageDraw, boxes: Sequence[Sequence[float]], side: int
) -> None:
    """Draw boxes, in normalised coordinates, on a square of so many pixels a side."""
    for box in boxes:
        edges = [edge * (side - 1) for edge in box]
        draw.rectangle(edges, outline="black", width=4)
        draw.rectangle(edges, outline="white", width=2)


def row(*controls: ipywidgets.Widget) -> ipywidgets.HBox:
    """Controls side by side, below each other where the page is narrow, all with names.

    A slider gets a number field (a range two, a slider over options a list), which
    moves with it. The controls themselves stay what they are, for `value` and `observe`.
    """
    layout = ipywidgets.Layout(flex_flow="row wrap")
    return ipywidgets.HBox([labelled(control) for control in controls], layout=layout)


def labelled(control: ipywidgets.Widget) -> ipywidgets.Widget:
    """A control with a name for screen readers: itself, or in a box with its fields."""
    if not hasattr(control, "description"):
        return control
    if control.tooltip is None:
        control.tooltip = control.description  # else it says "null"
    if isinstance(control, ipywidgets.SelectionSlider):
        fields = [_list_of(control)]
    elif isinstance(control, (ipywidgets.FloatRangeSlider, ipywidgets.IntRangeSlider)):
        fields = [_end_of(control, 0), _end_of(control, 1)]
    elif isinstance(control, ipywidgets.FloatLogSlider):
        least = control.base**control.min
        fields = [
            _number(
                control,
                lambda value: float(f"{value:.3g}"),
                lambda number: number,
                min=least,
                max=control.base**control.max,
                step=float(f"{least:.1g}"),
            )
        ]
    elif isinstance(control, (ipywidgets.FloatSlider, ipywidgets.IntSlider)):
        fields = [
            _number(
                control,
                lambda value: _rounded(value, control.step),
                lambda number: number,
                min=control.min,
                max=control.max,
                step=control.step,
            )
        ]
    else:
        if hasattr(control.style, "description_width"):
            control.style.description_width = LABEL
        return control
    # its words stay in front of the handle for who reads the page; they take no room
    control.style.description_width = "0"
    control.readout, control.layout.width = False, "7.5rem"
    return ipywidgets.HBox([fields[0], control, *fields[1:]])


def _rounded(value: float, step: float) -> float:
    """As many decimals as the step has: draws have more than anyone wants to read."""
    return round(value, len(f"{step:g}".partition(".")[2]))


def _number(
    control: ipywidgets.Widget,
    shown: Callable,
    moved: Callable,
    description: str | None = None,
    **bounds: float,
) -> ipywidgets.Widget:
    """A number field that moves with a control.

    shown: the number for a value of the control; moved: the value for a number.
    """
    whole = isinstance(control, (ipywidgets.IntSlider, ipywidgets.IntRangeSlider))
    kind = ipywidgets.BoundedIntText if whole else ipywidgets.BoundedFloatText
    short = description is not None
    name = description if short else control.description
    field = kind(
        value=shown(control.value),
        description=name,
        tooltip=control.description,
        style={"description_width": "1.5rem" if short else LABEL},
        layout=ipywidgets.Layout(width="6.5rem" if short else "11.5rem"),
        **bounds,
    )

    def follow(_):
        field.value = shown(control.value)

    def move(_):
        if field.value != shown(control.value):
            control.value = moved(field.value)
            follow(None)  # where the control did not take it

    control.observe(follow, "value")
    field.observe(move, "value")
    ipywidgets.dlink((control, "disabled"), (field, "disabled"))
    return field


def _end_of(control: ipywidgets.Widget, end: int) -> ipywidgets.Widget:
    """The number field of one end of a range; it stops at the other end."""

    def moved(number):
        low, high = control.value
        return (min(number, high), high) if end == 0 else (low, max(number, low))

    return _number(
        control,
        lambda value: _rounded(value[end], control.step),
        moved,
        "to" if end else None,
        min=control.min,
        max=control.max,
        step=control.step,
    )


def _list_of(control: ipywidgets.SelectionSlider) -> ipywidgets.Dropdown:
    """A list of a slider's options."""
    field = ipywidgets.Dropdown(
        options=control.options,
        index=control.index,
        description=control.description,
        tooltip=control.description,
        style={"description_width": LABEL},
        layout=ipywidgets.Layout(width="14rem"),
    )
    ipywidgets.link((control, "index"), (field, "index"))
    return field
