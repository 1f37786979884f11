"""The retrieval widget of notebook 07: a query, and what lies nearest to it.

>>> nearest(scenes, sounds, images, recordings)
"""

from collections.abc import Sequence

import ipywidgets
import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from sslnb.data.soundstamps import Scene
from sslnb.teach import plot
from sslnb.teach.retrieval import occurrences
from sslnb.teach.widgets.base import FONT, Picture, Status, play, row

TILE, GAP, LINE = 150, 10, 19  # pixels: of an image, between two, of a line of text

FIND = {  # what is found -> (vectors of the query, of the gallery)
    "sounds, by its sound": ("sounds", "sounds"),
    "sounds of other recordings, by its sound": ("sounds", "sounds"),
    "images, by its sound": ("sounds", "images"),
    "sounds, by its image": ("images", "sounds"),
}
OTHER_RECORDINGS = list(FIND)[1]


def nearest(
    scenes: Sequence[Scene],
    sounds: Tensor,
    images: Tensor,
    recordings: np.ndarray,
    k: int = 5,
) -> ipywidgets.VBox:
    """Pick a query, see and hear its k nearest neighbours, right or wrong.

    scenes: N clips; sounds, images (N, C): their unit vectors; recordings (N,): that
    sound in them. No query finds its own clip. Below each neighbour stand its cosine, and
    how many of the N queries have it among their first k: many, if it is a hub.

    Returns a box with `controls` (query, find), `view` (the images), `players` (of the
    query, then of the neighbours), `status`, and `found`, the neighbours' numbers.
    """
    names = [scene.class_name.replace("_", " ") for scene in scenes]
    vectors = {"sounds": sounds, "images": images}
    itself = torch.eye(len(scenes), dtype=torch.bool)
    same_recording = torch.from_numpy(recordings[:, None] == recordings)
    labels = np.array(names)
    same_class = torch.from_numpy(labels[:, None] == labels)
    order, cosine, often, right_left = {}, {}, {}, {}
    for what, (query, gallery) in FIND.items():
        leave_out = same_recording if what == OTHER_RECORDINGS else itself
        cosine[what] = vectors[query] @ vectors[gallery].T  # (N, N)
        kept = cosine[what].masked_fill(leave_out, -torch.inf)
        order[what] = kept.argsort(dim=1, descending=True, stable=True)[:, :k]
        often[what] = occurrences(cosine[what], leave_out, k)
        right_left[what] = (same_class & ~leave_out).sum(1)

    controls = {
        "query": ipywidgets.Dropdown(
            options=[(f"{n}: {name}", n) for n, name in enumerate(names)],
            description="query",
        ),
        "find": ipywidgets.Dropdown(
            options=list(FIND),
            description="find",
            layout=ipywidgets.Layout(width="26rem"),
        ),
    }
    width = (k + 1) * TILE + k * GAP
    below = ipywidgets.Layout(width=f"{width}px", max_width="100%")
    view, status = Picture(), Status()
    players = [
        ipywidgets.Audio(
            format="wav",
            autoplay=False,
            loop=False,
            layout=ipywidgets.Layout(width=f"{100 / (k + 1):.2f}%"),
        )
        for _ in range(k + 1)
    ]
    box = ipywidgets.VBox(
        [row(*controls.values()), view, ipywidgets.HBox(players, layout=below), status]
    )

    def render(_=None):
        n, what = controls["query"].value, controls["find"].value
        box.found = order[what][n].tolist()
        right = [names[j] == names[n] for j in box.found]
        lines = [
            (f"cosine {cosine[what][n, j]:.2f}", f"in {often[what][j]} lists")
            for j in box.found
        ]
        kind = "♪" if FIND[what][0] == "sounds" else "▣"
        tiles = [_tile(scenes[n], f"{kind} {names[n]}")]
        tiles += [
            _tile(scenes[j], f"{'✓' if hit else '✗'} {names[j]}", line, hit)
            for j, hit, line in zip(box.found, right, lines)
        ]
        canvas = Image.new("RGB", (width, tiles[0].height), "white")
        for place, tile in enumerate(tiles):
            canvas.paste(tile, (place * (TILE + GAP), 0))
        listed = "; ".join(
            f"{rank}, {names[j]}, {'right' if hit else 'wrong'}, {', '.join(line)}"
            for rank, (j, hit, line) in enumerate(zip(box.found, right, lines), 1)
        )
        view.show(plot.png(canvas), f"Query: {names[n]}. Found: {listed}.")
        status.say(
            f"{sum(right)} of {k} are right: P@{k} = {sum(right) / k:.2f}, A@{k} = "
            f"{max(right):d}. There are {int(right_left[what][n])} right ones to find. An "
            f"item is in {k} of {len(scenes)} lists on average, the first one here "
            f"in {often[what][box.found[0]]}."
        )
        for player, j in zip(players, (n, *box.found)):
            play(player, scenes[j].wave)

    for control in controls.values():
        control.observe(render, "value")
    box.controls, box.view, box.status, box.players = controls, view, status, players
    render()
    return box


def _tile(scene, title, lines=("the query", ""), right=None):
    """An image with a title above and two lines below; its frame: right or wrong."""
    color = {None: plot.BLUE, True: plot.GREEN, False: plot.RED}[right]
    tile = Image.new("RGB", (TILE, TILE + 3 * LINE), "white")
    draw = ImageDraw.Draw(tile)
    draw.text((0, 0), title, color, FONT)
    size = (TILE, TILE)
    tile.paste(Image.fromarray(scene.image).resize(size), (0, LINE))
    draw.rectangle((0, LINE, TILE - 1, LINE + TILE - 1), outline=color, width=4)
    for number, line in enumerate(lines):
        draw.text((0, LINE + TILE + 2 + number * LINE), line, "black", FONT)
    return tile
