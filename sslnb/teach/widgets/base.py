"""What the widgets share.

>>> view = Picture()
>>> view.show(png, "the map's maximum is on the dog")
"""

import base64
import html

import ipywidgets


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
