"""Build a scene: choose an object, its size and the sound (notebook 01).

>>> scene_builder("train", "cow")
"""

import ipywidgets
import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from sslnb import localise
from sslnb.data import soundstamps, stamps
from sslnb.data.soundstamps import Scene
from sslnb.teach import plot
from sslnb.teach.widgets.base import Picture, Status, play, row

SIDE = 288  # pixels a side of each of the two panels
LINE = 24  # pixels: the title above each
TITLES = "the image, and the box of what sounds", "the ground truth; in grey, silent"
SILENT = 165  # grey value of silent objects
OTHER = "of a silent object"


def box_area(scene: Scene) -> float:
    """The fraction of the image that the box of the sounding object covers."""
    ((x0, y0, x1, y1),) = scene.boxes
    return (x1 - x0) * (y1 - y0)


def best_iou(scene: Scene) -> float:
    """The IoU of the box and the best mask of half the image: `localise.oracle`."""
    return localise.oracle(localise.boxes_to_truth(scene.boxes)[None])[0].item()


def scene_panels(scene: Scene) -> bytes:
    """Two panels side by side, as PNG: the image with its box, and the visible masks.

    The mask of what sounds is blue, those of silent objects are grey.
    """
    masks = np.full((*scene.mask.shape, 3), 235, np.uint8)
    masks[np.any(scene.objects[1:], axis=0)] = SILENT  # of no object: none
    masks[scene.mask] = ImageColor.getrgb(plot.BLUE)
    canvas = Image.new("RGB", (2 * SIDE + 8, SIDE + LINE), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(14)
    how = Image.Resampling.BILINEAR, Image.Resampling.NEAREST
    for k, pixels in enumerate((scene.image, masks)):
        panel = Image.fromarray(pixels).resize((SIDE, SIDE), how[k])
        for box in scene.boxes:
            x0, y0, x1, y1 = (round(edge * SIDE) for edge in box)
            edges = (x0, y0, x1 - 1, y1 - 1)  # of pixels
            ImageDraw.Draw(panel).rectangle(edges, outline=plot.ORANGE, width=3)
        draw.text((k * (SIDE + 8), 2), TITLES[k], "black", font)
        canvas.paste(panel, (k * (SIDE + 8), LINE))
    return plot.png(canvas)


def scene_builder(
    split: str = "train", class_name: str = "cow", area: float = 0.4, seed: int = 0
) -> ipywidgets.VBox:
    """Compose a scene by choice: see its exact ground truth, and hear its sound.

    The scenes are those of `soundstamps.build`. area: the fraction of the image that
    the chosen object's box covers, where nothing hides it.

    Returns a box with `controls` (object; size in per cent of the image; sound: 0 its
    own, 1 of a silent object; silent, their number; seed), `view` (a Picture of the two
    panels), `player`, `status`, and `scene`, the Scene that is shown.
    """
    names = sorted(stamps.photos(split))
    controls = {
        "object": ipywidgets.Dropdown(
            options=[(name.replace("_", " "), name) for name in names],
            value=class_name,
            description="object",
        ),
        "size": ipywidgets.IntSlider(
            value=round(100 * area), min=2, max=90, description="size (%)"
        ),
        "sound": ipywidgets.Dropdown(
            options=[("its own", 0), (OTHER, 1)], description="sound"
        ),
        "silent": ipywidgets.BoundedIntText(
            value=1, min=0, max=2, description="silent objects"
        ),
        "seed": ipywidgets.BoundedIntText(
            value=seed, min=0, max=9_999, description="seed"
        ),
    }
    view, status = Picture(), Status()
    player = ipywidgets.Audio(format="wav", autoplay=False, loop=False)
    box = ipywidgets.VBox(
        [
            row(*(controls[name] for name in ("object", "size", "sound"))),
            row(*(controls[name] for name in ("silent", "seed"))),
            view,
            status,
            player,
        ]
    )

    def render(_=None):
        now = {name: control.value for name, control in controls.items()}
        size, number = now["size"] / 100, now["silent"]
        chosen = (split, now["seed"], now["object"], size, number)
        scene, note = soundstamps.build(*chosen), ""
        if now["sound"] and scene.silent:
            scene = soundstamps.build(*chosen, sounding=1)
        elif now["sound"]:
            note = "<b>There is no silent object here, so the sound is its own.</b> "
        if len(scene.silent) < number:
            note += "There is no room for more silent objects. "
        before, box.scene = box.scene, scene
        name = scene.class_name.replace("_", " ")
        covers, best = box_area(scene), best_iou(scene)
        silent = " and ".join(scene.silent).replace("_", " ") or "nothing"
        found = "can count as found" if best >= 0.5 else "must count as missed"
        view.show(
            scene_panels(scene),
            f"A scene in which a {name} sounds; its box covers {covers:.0%} of the "
            f"image. Silent in the image: {silent}.",
        )
        status.say(
            f"{note}♪ {name}. Box: <b>{covers:.0%}</b> of the image; visible pixels: "
            f"{scene.mask.mean():.0%}. Best IoU of any mask of half the image: "
            f"<b>{best:.2f}</b>, so it {found}."
        )
        if before is None or not np.array_equal(scene.wave, before.wave):
            play(player, scene.wave)

    for control in controls.values():
        control.observe(render, "value")
    box.controls, box.view, box.player, box.status = controls, view, player, status
    box.scene = None
    render()
    return box
