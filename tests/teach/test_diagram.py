"""The drawing of the method: it is XML, each part is lit where it belongs, and it is current."""

import io
import re
import xml.etree.ElementTree as ElementTree

import pytest
from PIL import Image

from sslnb.teach import diagram

SVG = "{http://www.w3.org/2000/svg}"
PICTURE = re.compile(r"data:image/jpeg;base64,[\w+/=]+")


@pytest.fixture(scope="module")
def shown():
    return diagram.pictures()


@pytest.fixture(scope="module")
def parts(shown):
    return diagram.method(shown)


def groups(parts, notebook=""):
    root = ElementTree.fromstring(diagram.to_svg(parts, notebook))
    assert len(root.find(f"{SVG}title").text.split()) > 30
    return root.findall(f"{SVG}g")


def text_of(group):
    return "".join(group.itertext())


def lit(parts, notebook):
    return " ".join(
        text_of(group)
        for group in groups(parts, notebook)
        if group.get("class") != "dim"
    )


def test_each_notebook_has_its_part_lit(parts):
    assert not [g for g in groups(parts) if g.get("class") == "dim"]
    for equation, notebooks in {
        "(4)": "02 05",
        "(2)": "03 04 05",
        "(5)": "03 05",
        "(6)–(8)": "03 05",
        "(9)": "04 05",
        "(10)": "04 05",
        "(11)": "05",
    }.items():
        for notebook in diagram.NOTEBOOKS:
            assert (equation in lit(parts, notebook)) == (
                notebook in notebooks.split()
            ), (equation, notebook)


def test_nothing_is_drawn_outside_of_the_card(parts):
    for group in groups(parts):
        for shape in group.iter():
            x, y = (float(shape.get(name, 10)) for name in "xy")
            assert 0 < x < diagram.WIDTH and 0 < y < diagram.HEIGHT
            across, down = (float(shape.get(name, 0)) for name in ("width", "height"))
            assert x + across < diagram.WIDTH and y + down < diagram.HEIGHT


def test_the_maps_are_of_the_cells_of_the_model_and_peak_where_they_are_bright(shown):
    image = Image.open(io.BytesIO(shown["map 1"])).convert("L")
    assert image.width == image.height == 2 * diagram.SIDE
    dark, bright = image.getextrema()
    assert dark < 90 and bright > 190


def test_what_is_committed_is_what_would_be_drawn(parts):
    """But for its pictures, in which processors may differ a little."""
    for notebook in ("", *diagram.NOTEBOOKS):
        name = f"method{notebook and '_'}{notebook}.svg"
        committed = (diagram.FOLDER / name).read_text(encoding="utf-8")
        assert PICTURE.sub("", committed) == PICTURE.sub(
            "", diagram.to_svg(parts, notebook)
        )
        assert len(PICTURE.findall(committed)) == 10
