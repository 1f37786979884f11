"""What the widgets share, without a browser: names of controls, words of pictures."""

import html

import ipywidgets
import pytest
from bs4 import BeautifulSoup

from sslnb.teach.widgets.base import Picture, Status, labelled, row


def test_a_picture_says_what_it_shows_whatever_the_words():
    view = Picture()
    view.show(b"a picture", 'a <b> and a "dog" & more')
    (image,) = BeautifulSoup(view.value, "html.parser").find_all("img")
    assert image["alt"] == view.alt == 'a <b> and a "dog" & more'
    assert view.png == b"a picture" and image["src"].startswith("data:image/png;")


def test_a_status_is_announced():
    status = Status()
    status.say(html.escape("<1 s"))
    (region,) = BeautifulSoup(status.value, "html.parser").find_all("div")
    assert region["role"] == "status" and region["aria-live"] == "polite"
    assert region.text == "<1 s"


def slider(**options):
    return ipywidgets.FloatSlider(description="angle", min=-1, max=1, **options)


def test_a_slider_gets_a_field_with_its_name_that_moves_with_it():
    control = slider(step=0.01)
    field, moved = labelled(control).children
    assert moved is control and not control.readout
    assert field.description == "angle"
    assert (field.min, field.max, field.step) == (-1, 1, 0.01)
    control.value = 0.123456
    assert field.value == 0.12 and control.value == 0.123456  # only shown rounded
    field.value = 0.5
    assert control.value == 0.5
    field.value = 7
    assert field.value == control.value == 1


def test_a_move_of_the_field_is_one_change():
    control, seen = slider(), []
    field = labelled(control).children[0]
    control.observe(lambda change: seen.append(change["new"]), "value")
    field.value = 0.3
    control.value = 0.4
    assert seen == [0.3, 0.4]


def test_whole_numbers_stay_whole():
    control = ipywidgets.IntSlider(value=3, max=9, description="k")
    field = labelled(control).children[0]
    assert isinstance(field, ipywidgets.BoundedIntText)
    field.value = 4
    assert control.value == 4 and type(control.value) is int


def test_the_field_of_a_logarithmic_slider_has_the_value_not_the_exponent():
    control = ipywidgets.FloatLogSlider(value=0.03, min=-3, max=0, description="τ")
    field = labelled(control).children[0]
    assert field.value == 0.03 and field.min == 0.001 and field.max == 1
    field.value = 0.5
    assert control.value == 0.5
    control.value = 1 / 3
    assert field.value == 0.333


def test_a_range_has_two_fields_that_stop_at_each_other():
    control = ipywidgets.FloatRangeSlider(
        value=(0.5, 1), max=3, step=0.1, description="masked"
    )
    low, moved, high = labelled(control).children
    assert moved is control and (low.description, high.description) == ("masked", "to")
    low.value = 0.7
    assert control.value == (0.7, 1)
    high.value = 2
    assert control.value == (0.7, 2)
    low.value = 3
    assert control.value == (2, 2) and low.value == 2


def test_a_slider_over_options_gets_a_list():
    control = ipywidgets.SelectionSlider(options=["a", "b"], description="epoch")
    field = labelled(control).children[0]
    assert isinstance(field, ipywidgets.Dropdown) and field.description == "epoch"
    field.value = "b"
    assert control.value == "b"
    control.value = "a"
    assert field.value == "a"


def test_a_disabled_slider_disables_its_field():
    control = slider()
    field = labelled(control).children[0]
    control.disabled = True
    assert field.disabled


@pytest.mark.parametrize(
    "kind", [ipywidgets.Checkbox, ipywidgets.Button, ipywidgets.Text]
)
def test_what_has_a_name_stays_what_it_is(kind):
    control = kind(description="flip")
    box = row(control)
    assert box.children == (control,) and box.layout.flex_flow == "row wrap"
    assert control.tooltip == "flip"
