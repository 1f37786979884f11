"""The method as a drawing: figure 2 of the paper, with real images and maps in it.

>>> draw_method()           # notebooks/images/method.svg, and one with each notebook's part lit

An SVG needs no plotting library: it is text. It has a card of its own, light or dark as
the reader's system is, so that it can be read on any page. The images in it are
computed: one scene in both branches, its masked sound, and the shipped model's maps.
"""

import base64
import html
import io
import re
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from PIL import Image
from torch import Tensor

from sslnb import augment
from sslnb.data import load_scenes, normalise, spectrogram
from sslnb.files import CHECKPOINT, ROOT
from sslnb.model import SoundLocaliser, evaluating
from sslnb.teach import plot
from sslnb.training.recipe import TrainConfig

FOLDER = ROOT / "notebooks" / "images"
SCENE = 5  # of `test`
WIDTH, HEIGHT = 1180, 524
SIDE = 84  # of an image or a map
TOP, MIDDLE, BOTTOM = 142, 288, 434  # the lanes: branch 1, sound, branch 2
NOTEBOOKS = ("02", "03", "04", "05")
STYLE = """
  .card { fill: #ffffff; stroke: #d0d7de } .ink { fill: #1f2328 } .soft { fill: #59636e }
  .line { stroke: #59636e; fill: none; stroke-width: 1.6 } .head { fill: #59636e }
  .box { fill: #f3f5f7; stroke: #8b949e } .same { stroke: #8b949e; stroke-dasharray: 5 4; fill: none }
  .loss { fill: #0072b2 } .on { fill: #ffffff } .geo { fill: #d55e00 } .frame { fill: none; stroke: #8b949e }
  .dim { opacity: 0.2 }
  text { font-family: system-ui, -apple-system, "Segoe UI", sans-serif; font-size: 18px }
  .small { font-size: 14.5px } .code { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: 14px }
  .title { font-size: 16px; font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    .card { fill: #151b23; stroke: #3d444d } .ink { fill: #f0f6fc } .soft { fill: #9fa8b2 }
    .line { stroke: #9fa8b2 } .head { fill: #9fa8b2 } .box { fill: #262c36; stroke: #656c76 }
  }
"""
ALT = (
    "The method: an image is transformed twice, its sound is mixed and masked; two image "
    "encoders with the same weights and an audio encoder give two response maps; each map "
    "has a contrastive loss, and an equivariance loss compares the transformed map of "
    "branch 1 with the map of branch 2"
)


@dataclass(frozen=True)
class Part:
    """A piece of the drawing, and the notebooks in which it is lit."""

    svg: str
    notebooks: str  # numbers apart by spaces


def draw_method(folder: Path = FOLDER) -> list[Path]:
    """Write method.svg, all of it lit, and method_02.svg to method_05.svg."""
    folder.mkdir(exist_ok=True)
    parts, written = method(pictures()), []
    for notebook in ("", *NOTEBOOKS):
        path = folder / f"method{notebook and '_'}{notebook}.svg"
        path.write_text(to_svg(parts, notebook), encoding="utf-8")
        written.append(path)
    return written


def to_svg(parts: list[Part], notebook: str = "") -> str:
    """The drawing with the parts of one notebook lit; "": all."""
    lit = {True: "", False: ' class="dim"'}
    body = "\n".join(
        f"<g{lit[not notebook or notebook in part.notebooks.split()]}>{part.svg}</g>"
        for part in parts
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" role="img"><title>{ALT}</title><style>{STYLE}</style>'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" '
        'markerHeight="8" orient="auto"><path d="M0 0 8 4 0 8z" class="head"/></marker>'
        "</defs>"
        f'<rect class="card" x="1" y="1" width="{WIDTH - 2}" height="{HEIGHT - 2}" rx="14"/>'
        f"\n{body}\n</svg>\n"
    )


# --- what is shown -----------------------------------------------------------


def pictures() -> dict[str, bytes]:
    """JPEGs by name: the scene, its views, its sound, and maps, all computed."""
    model = SoundLocaliser.load(CHECKPOINT)
    clips = load_scenes("test", SCENE + 1).part(slice(SCENE, SCENE + 1))
    image, audio = clips.images / 255, model.config.audio  # (1, 3, S, S)
    look = {
        "brightness": [0.8, 1.15],
        "contrast": [1.3, 0.9],
        "saturation": [0.4, 1.6],
        "hue": [0.1, -0.08],
        "grey": [False, False],
        "sigma": [0.0, 0.0],
    }
    views = augment.apply_appearance(
        image.expand(2, -1, -1, -1), {k: torch.tensor(v) for k, v in look.items()}
    )
    theta = augment.fixed_affine(side=0.85, degrees=25.0)
    sound = spectrogram(clips.waves, audio)  # (1, 1, F, T)
    bands = {
        "time": torch.tensor([[0.3, 0.42]]),
        "frequency": torch.tensor([[0.55, 0.68]]),
    }
    masked = augment.apply_mask(sound, bands, audio.silence)
    with evaluating(model):
        rotated = augment.warp(normalise(views[1:]), theta)
        v = model.embed_image(torch.cat([normalise(views[:1]), rotated]))
        maps = torch.einsum("bchw,bc->bhw", v, model.embed_audio(masked).expand(2, -1))
        transformed = augment.warp(maps[:1], theta)[0]
        inside = augment.in_frame(theta, *maps.shape[1:])[0]
    low, high = maps.min().item(), maps.max().item()
    shown_2 = augment.warp(views[1:], theta)[0]

    def heat(response: Tensor) -> Tensor:
        level = (response - low) / (high - low)
        return torch.from_numpy(plt.get_cmap(plot.MAP)(level.numpy())[..., :3])

    def of_sound(x: Tensor) -> Tensor:
        level = (x[0, 0] - x.min()) / (x.max() - x.min())
        return torch.from_numpy(plt.get_cmap("magma")(level.flip(0).numpy())[..., :3])

    usual = TrainConfig()
    mask = ((maps - usual.epsilon) / usual.tau).sigmoid()  # eq. 5
    grey = mask[..., None].expand(-1, -1, -1, 3)
    every = {
        "image": image[0].permute(1, 2, 0),
        "view 1": views[0].permute(1, 2, 0),
        "view 2": shown_2.permute(1, 2, 0),
        "sound": of_sound(sound),
        "masked": of_sound(masked),
        "map 1": heat(maps[0]),
        "map 2": heat(maps[1]),
        "map 1 transformed": heat(transformed) * inside[..., None],
        "mask 1": grey[0],
        "mask 2": grey[1],
    }
    return {name: jpeg(pixels) for name, pixels in every.items()}


def jpeg(pixels: Tensor, side: int = 2 * SIDE) -> bytes:
    """Pixels (H, W, 3) in [0, 1] as a small JPEG; coarse ones stay sharp cells."""
    image = Image.fromarray((255 * pixels.clamp(0, 1)).round().to(torch.uint8).numpy())
    coarse = max(image.size) < 32
    how = Image.Resampling.NEAREST if coarse else Image.Resampling.LANCZOS
    image = image.resize((side, side * image.height // image.width), how)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80, optimize=True)
    return buffer.getvalue()


# --- how it is drawn ---------------------------------------------------------


def words(x: float, y: float, text: str, kind: str = "ink", anchor: str = "middle"):
    """A line of text; `T_{app}` and `L_{cl}^1` are set as in the paper."""
    out, level = "", 0.0
    for symbol, mark, script in re.findall(
        r"([^_^]+)|([_^])(\{[^}]*\}|.)", html.escape(text)
    ):
        to = {"": 0.0, "_": 5.0, "^": -8.0}[mark]
        size = ' font-size="70%"' if mark else ""
        tilt = ' font-style="italic"' if len(symbol.strip()) == 1 else ""
        out += f'<tspan dy="{to - level:g}"{size}{tilt}>{symbol or script.strip("{}")}</tspan>'
        level = to
    return (
        f'<text x="{x:g}" y="{y:g}" class="{kind}" text-anchor="{anchor}">{out}</text>'
    )


def box(x: float, y: float, width: float, height: float, text: str, kind: str = "box"):
    """A box centred at x, y with a line of text in it."""
    inked = "ink" if kind == "box" else "on"
    return (
        f'<rect x="{x - width / 2:g}" y="{y - height / 2:g}" width="{width:g}" '
        f'height="{height:g}" rx="8" class="{kind}"/>' + words(x, y + 6, text, inked)
    )


def encoder(x: float, y: float, text: str):
    """A trapezium that narrows: an encoder."""
    points = f"{x},{y - 42} {x + 78},{y - 22} {x + 78},{y + 22} {x},{y + 42}"
    return f'<polygon points="{points}" class="box"/>' + words(x + 38, y + 6, text)


def line(*points: tuple[float, float], kind: str = "line"):
    """An arrow along straight lines."""
    path = " ".join(f"{x:g} {y:g}" for x, y in points)
    tip = ' marker-end="url(#tip)"' if kind == "line" else ""
    return f'<path d="M{path}" class="{kind}"{tip}/>'


def method(shown: dict[str, bytes]) -> list[Part]:
    """The parts of the drawing from left to right."""

    def photo(name, x, y, side=SIDE):
        image = Image.open(io.BytesIO(shown[name]))
        height = side * image.height / image.width
        data = base64.b64encode(shown[name]).decode()
        at = (
            f'x="{x - side / 2:g}" y="{y - height / 2:g}" width="{side}" '
            f'height="{height:g}"'
        )
        link = f"data:image/jpeg;base64,{data}"
        return f'<image {at} href="{link}"/><rect {at} class="frame"/>'

    every = "02 03 04 05"
    first, map_x, dot, mask_x, loss_x = 62, 688, 590, 812, 928
    parts = [
        Part(
            words(250, 34, "transformations", "ink title")
            + words(250, 56, "augment.py", "soft code"),
            "02 05",
        ),
        Part(
            words(600, 34, "encoders, response maps", "ink title")
            + words(600, 56, "model.py", "soft code"),
            "03 04 05",
        ),
        Part(
            words(905, 34, "losses", "ink title")
            + words(905, 56, "losses.py", "soft code"),
            "03 04 05",
        ),
        Part(
            words(1100, 34, "training", "ink title")
            + words(1100, 56, "training/step.py", "soft code"),
            "05",
        ),
        Part(photo("image", first, MIDDLE) + words(first, MIDDLE + 66, "image"), every),
        Part(photo("sound", 172, MIDDLE, 76) + words(172, MIDDLE + 44, "sound"), every),
        Part(
            line((first, MIDDLE - 48), (first, TOP), (203, TOP))
            + line((274, TOP), (352, TOP))
            + box(238, TOP, 68, 38, "T_{app}"),
            every,
        ),
        Part(
            line((first, MIDDLE + 78), (first, BOTTOM), (165, BOTTOM))
            + box(200, BOTTOM, 68, 38, "T_{app}"),
            every,
        ),
        Part(
            line((234, BOTTOM), (252, BOTTOM))
            + line((326, BOTTOM), (352, BOTTOM))
            + box(290, BOTTOM, 68, 38, "T_{geo}", "geo"),
            every,
        ),
        Part(
            line((212, MIDDLE), (226, MIDDLE))
            + box(258, MIDDLE, 60, 34, "T_{mix}")
            + words(258, MIDDLE - 24, "(4)", "soft small")
            + line((289, MIDDLE), (299, MIDDLE))
            + box(332, MIDDLE, 62, 34, "T_{mask}")
            + line((364, MIDDLE), (376, MIDDLE)),
            "02 05",
        ),
        Part(photo("view 1", 396, TOP) + photo("view 2", 396, BOTTOM), every),
        Part(photo("masked", 414, MIDDLE, 72), every),
        Part(
            words(430, TOP - 52, "branch 1", "soft small")
            + words(430, BOTTOM + 62, "branch 2", "soft small"),
            every,
        ),
        Part(
            line((440, TOP), (463, TOP))
            + line((440, BOTTOM), (463, BOTTOM))
            + encoder(466, TOP, "f_{v}")
            + encoder(466, BOTTOM, "f_{v}")
            + line((451, MIDDLE), (469, MIDDLE))
            + encoder(472, MIDDLE, "f_{a}")
            + line(
                (505, TOP + 36),
                (505, TOP + 56),
                (568, TOP + 56),
                (568, BOTTOM - 56),
                (505, BOTTOM - 56),
                (505, BOTTOM - 36),
                kind="same",
            )
            + words(508, TOP + 74, "same weights", "soft small")
            + words(556, TOP - 12, "(2)", "soft small"),
            "03 04 05",
        ),
        Part(
            line((546, TOP), (dot - 17, TOP))
            + line((546, BOTTOM), (dot - 17, BOTTOM))
            + line((552, MIDDLE), (dot, MIDDLE), (dot, TOP + 17))
            + line((dot, MIDDLE), (dot, BOTTOM - 17))
            + "".join(
                f'<circle cx="{dot}" cy="{y}" r="15" class="box"/>'
                + words(dot, y + 5, "cos", "ink small")
                + line((dot + 17, y), (map_x - 45, y))
                for y in (TOP, BOTTOM)
            )
            + words(dot + 34, TOP - 12, "(3)", "soft small")
            + photo("map 1", map_x, TOP)
            + photo("map 2", map_x, BOTTOM)
            + words(map_x, TOP - 52, "map S^1")
            + words(map_x, BOTTOM + 64, "map S^2"),
            "03 04 05",
        ),
        Part(
            "".join(
                line((map_x + 44, y), (mask_x - 33, y))
                + photo(f"mask {k}", mask_x, y, 60)
                + line((mask_x + 32, y), (loss_x - 40, y))
                + box(loss_x, y, 74, 42, f"L_{{cl}}^{k}", "loss")
                + words(loss_x, y + 40, "against other sounds", "soft small")
                for k, y in ((1, TOP), (2, BOTTOM))
            )
            + words(mask_x, TOP - 40, "pseudo-mask m", "ink small")
            + words(756, TOP - 12, "(5)", "soft small")
            + words(loss_x, TOP - 32, "(6)–(8)", "soft small"),
            "03 05",
        ),
        Part(
            line((map_x, TOP + 43), (map_x, TOP + 60))
            + box(map_x, TOP + 79, 68, 34, "T_{geo}", "geo")
            + words(map_x + 42, TOP + 84, "(9)", "soft small", "start")
            + line((map_x, TOP + 97), (map_x, MIDDLE - 27))
            + photo("map 1 transformed", map_x, MIDDLE + 12, 76)
            + line((map_x + 40, MIDDLE + 12), (loss_x - 40, MIDDLE + 12))
            + f'<path d="M{map_x + 22} {BOTTOM - 44} V{MIDDLE + 72} H{loss_x - 12} '
            f'V{MIDDLE + 36}" class="line" marker-end="url(#tip)"/>'
            + box(loss_x, MIDDLE + 12, 74, 42, "L_{geo}", "geo")
            + words(loss_x, MIDDLE - 20, "(10)", "soft small"),
            "04 05",
        ),
        Part(
            line((loss_x + 38, TOP), (1100, TOP), (1100, MIDDLE - 14))
            + line((loss_x + 38, BOTTOM), (1100, BOTTOM), (1100, MIDDLE + 38))
            + line((loss_x + 38, MIDDLE + 12), (1056, MIDDLE + 12))
            + box(1100, MIDDLE + 12, 84, 46, "L_{total}", "loss")
            + words(1010, MIDDLE + 4, "λ_{geo}", "soft")
            + words(1124, MIDDLE - 24, "(11)", "soft small", "start"),
            "05",
        ),
    ]
    return parts
