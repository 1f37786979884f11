"""Equation 10: the map of a transformed image against the transformed map."""

import io
import math

import numpy as np
import pytest
import scipy.ndimage
import torch
import torch.nn.functional as F
import torchvision.transforms.v2.functional as TF
from PIL import Image

from sslnb.augment import Geometric, affine, in_frame, warp
from sslnb.data import load_scenes, normalise, spectrogram
from sslnb.losses import equivariance_loss
from sslnb.model import SoundLocaliser
from sslnb.teach import widgets
from sslnb.teach.widgets import transform

EDGE = 1e-3  # of a cell: what the module forgives at the outer centres
FLIP = torch.diag(torch.tensor([-1.0, 1.0, 1.0]))


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def thetas(batch, seed=0):
    return Geometric().draw(batch, torch.Generator().manual_seed(seed))


def theta(batch=1, side=1.0, x=0.0, y=0.0, degrees=0.0, flip=1.0):
    def column(value):
        return torch.full((batch,), float(value))

    shift = torch.tensor([[x, y]]).float().expand(batch, 2)
    return affine(column(side), shift, column(math.radians(degrees)), column(flip))


def in_full(theta):
    """(2, 3) or (B, 2, 3) with the last row of an affine matrix."""
    row = torch.tensor([0.0, 0.0, 1.0]).expand(*theta.shape[:-2], 1, 3)
    return torch.cat([theta, row], -2)


def centres(count):
    return (2 * torch.arange(count) + 1) / count - 1


def ramp(matrix, height, width, slope=(0.3, -0.2), level=0.4):
    """A plane over the frame, seen through an affine matrix (2, 3), at cells' centres."""
    y, x = torch.meshgrid(centres(height), centres(width), indexing="ij")
    at = torch.stack([x, y, torch.ones_like(x)], -1) @ matrix.T  # (h, w, 2)
    return level + slope[0] * at[..., 0] + slope[1] * at[..., 1]


def naive_loss(response_1, response_2, theta):
    """Eq. 10 by hand: bilinear between four cells, out-of-frame cells left out."""
    batch, height, width = response_1.shape
    total, count = 0.0, 0
    for b in range(batch):
        (a, c, tx), (d, e, ty) = theta[b].tolist()
        for row in range(height):
            for column in range(width):
                x, y = (2 * column + 1) / width - 1, (2 * row + 1) / height - 1
                u = ((a * x + c * y + tx + 1) * width - 1) / 2
                v = ((d * x + e * y + ty + 1) * height - 1) / 2
                if not (-EDGE < u < width - 1 + EDGE and -EDGE < v < height - 1 + EDGE):
                    continue
                u, v = min(max(u, 0), width - 1), min(max(v, 0), height - 1)
                left, top = min(int(u), width - 2), min(int(v), height - 2)
                p, q = u - left, v - top
                warped = (
                    (1 - q) * (1 - p) * response_1[b, top, left].item()
                    + (1 - q) * p * response_1[b, top, left + 1].item()
                    + q * (1 - p) * response_1[b, top + 1, left].item()
                    + q * p * response_1[b, top + 1, left + 1].item()
                )
                total += (response_2[b, row, column].item() - warped) ** 2
                count += 1
    return total / max(count, 1)


def snap(at, last):
    """Coordinates with those that lie a hair's breadth past an end put on it."""
    return np.where((at > -EDGE) & (at < last + EDGE), at.clip(0, last), at)


# --- values -----------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shape", [(4, 12, 12), (3, 5, 8)])
def test_equals_a_naive_loop(shape, seed):
    one, two, draws = (
        rand(*shape, seed=seed),
        rand(*shape, seed=9),
        thetas(shape[0], seed),
    )
    expected = naive_loss(one, two, draws)
    assert expected > 0
    assert equivariance_loss(one, two, draws).item() == pytest.approx(
        expected, rel=1e-4
    )


@pytest.mark.parametrize("seed", range(5))
def test_equals_scipys_interpolation(seed):
    # map_coordinates reads NaN wherever a coordinate lies past the outer centres
    one, two, draws = (
        rand(6, 10, 14, seed=seed),
        rand(6, 10, 14, seed=9),
        thetas(6, seed),
    )
    y, x = torch.meshgrid(centres(10), centres(14), indexing="ij")
    here = torch.stack([x, y, torch.ones_like(x)], -1)
    squares = []
    for k in range(6):
        at = (here @ draws[k].T).double().numpy()
        rows, columns = ((at[..., 1] + 1) * 10 - 1) / 2, ((at[..., 0] + 1) * 14 - 1) / 2
        rows, columns = snap(rows, 9), snap(columns, 13)
        warped = scipy.ndimage.map_coordinates(
            one[k].numpy(), [rows, columns], order=1, mode="constant", cval=np.nan
        )
        squares.append((two[k].numpy() - warped) ** 2)
    expected = np.nanmean(np.stack(squares))
    assert equivariance_loss(one, two, draws).item() == pytest.approx(
        expected, rel=1e-4
    )


def test_identity_is_the_mean_squared_error():
    one, two = rand(4, 12, 12), rand(4, 12, 12, seed=1)
    torch.testing.assert_close(
        equivariance_loss(one, two, theta(4)), F.mse_loss(one, two)
    )


def test_a_flip_is_the_mean_squared_error_of_the_flipped_map():
    one, two = rand(4, 12, 12), rand(4, 12, 12, seed=1)
    torch.testing.assert_close(
        equivariance_loss(one, two, theta(4, flip=-1)), F.mse_loss(one.flip(-1), two)
    )


def test_a_whole_cell_of_shift_compares_slices():
    # output shows the input two cells to the right: what was at column 2 is at 0
    one, two = rand(4, 10, 10), rand(4, 10, 10, seed=1)
    shift = theta(4, x=2 * 2 / 10)
    torch.testing.assert_close(
        equivariance_loss(one, two, shift), F.mse_loss(one[..., 2:], two[..., :-2])
    )


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_quarter_turns_are_rot90(quarters):
    one = rand(3, 9, 9)
    rotated = one.rot90(quarters, (1, 2))
    assert equivariance_loss(one, rotated, theta(3, degrees=90 * quarters)) < 1e-10
    assert (
        equivariance_loss(one, rotated.flip(-1), theta(3, degrees=90 * quarters)) > 0.01
    )


@pytest.mark.parametrize("degrees", [-30, 10, 30])
def test_torchvision_rotates_the_same_way(degrees):
    one = rand(2, 21, 21)
    rotated = TF.rotate(one, degrees, TF.InterpolationMode.BILINEAR)
    assert equivariance_loss(one, rotated, theta(2, degrees=degrees)) < 1e-8


@pytest.mark.parametrize("seed", range(8))
def test_planes_are_equivariant_under_any_affine(seed):
    # bilinear interpolation is exact on a plane, so the transformed plane is known
    generator = torch.Generator().manual_seed(seed)
    draws = torch.randn(5, 2, 3, generator=generator) * 0.5 + torch.eye(2, 3)
    one = torch.stack([ramp(torch.eye(2, 3), 7, 11)] * 5)
    two = torch.stack([ramp(matrix, 7, 11) for matrix in draws])
    assert (warp(torch.ones_like(one), draws) > 0.999).any()
    assert equivariance_loss(one, two, draws) < 1e-11
    assert equivariance_loss(one, two + 0.1, draws).item() == pytest.approx(
        0.01, rel=1e-3
    )


def test_the_inverse_transform_gives_another_loss():
    one, draw = rand(3, 12, 12), theta(3, side=0.8, degrees=20)
    back = in_full(draw).inverse()[:, :2]
    two = warp(one, draw)
    assert equivariance_loss(one, two, draw) < 1e-11
    assert equivariance_loss(one, two, back) > 0.01
    assert equivariance_loss(two, one, draw) > 0.01


@pytest.mark.parametrize("seed", range(4))
def test_mirrored_maps_have_the_same_loss(seed):
    one, two, draws = rand(4, 8, 8, seed=seed), rand(4, 8, 8, seed=9), thetas(4, seed)
    mirrored = (FLIP @ in_full(draws) @ FLIP)[:, :2]
    torch.testing.assert_close(
        equivariance_loss(one, two, draws),
        equivariance_loss(one.flip(-1), two.flip(-1), mirrored),
    )


def test_a_constant_map_costs_nothing():
    flat = torch.full((8, 12, 12), 0.7)
    assert equivariance_loss(flat, flat, thetas(8)) < 1e-12


def test_is_a_mean_over_cells():
    one, two, draws = rand(3, 8, 8), rand(3, 8, 8, seed=1), thetas(3)
    torch.testing.assert_close(
        equivariance_loss(one, two, draws),
        equivariance_loss(
            one.repeat(5, 1, 1), two.repeat(5, 1, 1), draws.repeat(5, 1, 1)
        ),
    )


# --- the border -------------------------------------------------------------


def test_shrunk_to_half_only_the_inner_cells_count():
    # the frame becomes 4 × 4 of 8 × 8 cells; cell 2 shows (2·2 − 3.5) = 0.5: inside
    one = rand(1, 8, 8)
    counted = torch.zeros(1, 8, 8, dtype=torch.bool)
    counted[:, 2:6, 2:6] = True
    two = rand(1, 8, 8, seed=1).requires_grad_()
    equivariance_loss(one, two, theta(side=2)).backward()
    assert torch.equal(two.grad != 0, counted)


def test_out_of_frame_cells_change_neither_value_nor_gradient():
    draws = torch.cat(
        [theta(side=2, degrees=30), theta(x=0.5, y=-0.3), theta(degrees=30)]
    )
    out_of_frame = warp(torch.ones(3, 12, 12), draws) < 1 - 1e-3
    assert out_of_frame.float().mean((1, 2)).min() > 0.2
    found = []
    for fill in (0.0, 1.0, -50.0):
        one = rand(3, 12, 12).requires_grad_()
        two = rand(3, 12, 12, seed=1).masked_fill(out_of_frame, fill).requires_grad_()
        loss = equivariance_loss(one, two, draws)
        loss.backward()
        found.append((loss.detach(), one.grad, two.grad))
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other))
    assert not found[0][2][out_of_frame].any()


def test_without_a_border_out_of_frame_cells_are_pulled_to_zero():
    """As in the released code: the mean squared error, with zeros outside."""
    one, other, matrix = rand(4, 6, 6), rand(4, 6, 6, seed=1), thetas(4)
    inside = in_frame(matrix, 6, 6)
    assert 0 < inside.sum() < inside.numel()
    loss = equivariance_loss(one, other, matrix, mask_border=False)
    torch.testing.assert_close(loss, (other - warp(one, matrix)).square().mean())
    far = theta(4, x=9)  # nothing of the map is left in the frame
    outside = equivariance_loss(one, other, far, mask_border=False)
    torch.testing.assert_close(outside, other.square().mean())


def test_a_cell_half_out_of_frame_does_not_count():
    one, two = torch.ones(1, 8, 8), torch.ones(1, 8, 8)
    half_a_cell = theta(x=1 / 8)
    assert warp(one, half_a_cell)[0, 0, -1].item() == pytest.approx(0.5)
    assert equivariance_loss(one, two, half_a_cell) < 1e-12


def test_where_no_cell_is_left_the_loss_is_zero_and_so_are_its_gradients():
    one, two = rand(2, 6, 6).requires_grad_(), rand(2, 6, 6, seed=1).requires_grad_()
    loss = equivariance_loss(one, two, theta(2, x=5))
    loss.backward()
    assert loss.item() == 0
    assert not one.grad.any() and not two.grad.any()  # NaN would be true


def test_a_map_out_of_frame_does_not_dilute_the_others():
    one, two = rand(2, 6, 6), rand(2, 6, 6, seed=1)
    draws = torch.cat([theta(degrees=10), theta(x=5)])
    torch.testing.assert_close(
        equivariance_loss(one, two, draws),
        equivariance_loss(one[:1], two[:1], draws[:1]),
    )


@pytest.mark.parametrize("degrees", [10, 30, 45])
def test_the_area_that_a_rotation_leaves_in_frame_is_known(degrees):
    # area of a square within the same square rotated by θ: 2 / (1 + |sin| + |cos|)
    angle = math.radians(degrees)
    known = 2 / (1 + abs(math.sin(angle)) + abs(math.cos(angle)))
    inside = warp(torch.ones(1, 224, 224), theta(degrees=degrees)).mean().item()
    assert inside == pytest.approx(known, abs=3e-3)


# --- the image and its map ----------------------------------------------------


def pool(images):
    return F.avg_pool2d(images, 8)


def test_one_theta_transforms_an_image_and_its_map_alike():
    draws = torch.cat(
        [theta(side=0.7, x=0.2, degrees=25, flip=-1), theta(side=2, y=0.3)]
    )
    image = ramp(torch.eye(2, 3), 96, 96).expand(2, 1, 96, 96)
    warped = pool(warp(image, draws))[:, 0]
    inside = pool(warp(torch.ones_like(image), draws))[:, 0] > 0.999
    of_map = warp(pool(image)[:, 0], draws)
    inside &= warp(torch.ones_like(of_map), draws) > 0.999
    assert inside.float().mean((1, 2)).min() > 0.15
    torch.testing.assert_close(warped[inside], of_map[inside], atol=1e-5, rtol=0)


@pytest.mark.parametrize("change", [{"flip": -1}, {"degrees": 90}, {"x": 4 / 12}])
def test_averaging_cells_is_equivariant_under_transforms_by_whole_cells(change):
    images, draws = rand(2, 1, 96, 96), theta(2, **change)
    response_1, response_2 = (pool(x)[:, 0] for x in (images, warp(images, draws)))
    assert equivariance_loss(response_1, response_2, draws) < 1e-10


# --- gradients ----------------------------------------------------------------


def test_gradients_flow_into_both_maps():
    one, two, draws = rand(2, 4, 5), rand(2, 4, 5, seed=1), thetas(2, 3)
    one.requires_grad_(), two.requires_grad_()
    equivariance_loss(one, two, draws).backward()
    step = 0.05  # the loss is a square, so central differences are exact
    for which, leaf in enumerate((one, two)):
        expected = torch.zeros_like(leaf)
        for place in np.ndindex(*leaf.shape):
            values = []
            for sign in (1, -1):
                maps = [one.detach().clone(), two.detach().clone()]
                maps[which][place] += sign * step
                values.append(equivariance_loss(*maps, draws).item())
            expected[place] = (values[0] - values[1]) / (2 * step)
        assert expected.abs().max() > 0.01
        torch.testing.assert_close(leaf.grad, expected, atol=1e-5, rtol=1e-3)


def test_a_step_of_gradient_descent_brings_the_maps_together():
    one, two, draws = rand(4, 8, 8), rand(4, 8, 8, seed=1), thetas(4)
    one.requires_grad_(), two.requires_grad_()
    before = equivariance_loss(one, two, draws)
    before.backward()
    after = equivariance_loss(one - 5 * one.grad, two - 5 * two.grad, draws)
    assert after < before


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("level", [-1.0, 0.0, 0.5, 1.0])
def test_is_finite_in_every_precision(dtype, level):
    one = (level + 0.1 * rand(4, 12, 12)).to(dtype).requires_grad_()
    two = (level + 0.1 * rand(4, 12, 12, seed=1)).to(dtype).requires_grad_()
    loss = equivariance_loss(one, two, thetas(4))
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite() and one.grad.isfinite().all() and two.grad.isfinite().all()
    exact = equivariance_loss(one.detach().float(), two.detach().float(), thetas(4))
    torch.testing.assert_close(loss.detach(), exact)


# --- wrong shapes ---------------------------------------------------------------


@pytest.mark.parametrize(
    "first, second",
    [
        ((2, 8, 8), (2, 8, 9)),
        ((2, 8, 8), (3, 8, 8)),
        ((2, 1, 8, 8), (2, 1, 8, 8)),
        ((8, 8), (8, 8)),
    ],
)
def test_maps_of_other_shapes_are_refused(first, second):
    with pytest.raises(ValueError) as error:
        equivariance_loss(torch.zeros(first), torch.zeros(second), theta(2))
    assert str(first) in str(error.value) and str(second) in str(error.value)
    assert "(B, h, w)" in str(error.value)


@pytest.mark.parametrize("shape", [(3, 2, 3), (2, 3, 3), (2, 3), (2, 2)])
def test_a_theta_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match="theta has shape") as error:
        equivariance_loss(
            torch.zeros(2, 8, 8), torch.zeros(2, 8, 8), torch.zeros(shape)
        )
    assert str(shape) in str(error.value) and "(2, 2, 3)" in str(error.value)


# --- the panel of notebook 04 ---------------------------------------------------


NAMES = ("one", "two & three")


@pytest.fixture(scope="module")
def panel():
    models = {}
    for seed, name in enumerate(NAMES):
        torch.manual_seed(seed)
        models[name] = SoundLocaliser.from_preset("laptop").eval()
    return models, widgets.equivariance(models, load_scenes("val", 2))


def pixels(panel):
    return np.array(Image.open(io.BytesIO(panel.view.png)))


def test_without_a_transform_the_two_maps_of_each_model_agree(panel):
    _, box = panel
    shown, side, line = pixels(box), transform.SIDE, transform.LINE
    assert shown.shape[1] == 3 * side + 2 * transform.GAP
    for k in range(3):  # the image too is as it was
        x = k * (side + transform.GAP)
        upper, lower = (
            shown[y : y + side, x : x + side].astype(int)
            for y in (2 * line, 3 * line + side)
        )
        assert np.abs(upper - lower).max() <= 1
        assert upper.std() > 10
    assert [answer.name for answer in box.answers] == list(NAMES)
    assert all(answer.loss < 1e-10 for answer in box.answers)
    assert "0% of the cells are out of frame" in box.status.value


def test_the_panel_shows_what_its_sliders_say(panel):
    models, box = panel
    clips = load_scenes("val", 2)
    settings = {"scene": 1, "angle": 30, "scale": 0.8, "flip": True}
    before = pixels(box)
    for name, value in settings.items():
        box.controls[name].value = value
    draw = theta(side=1 / 0.8, degrees=30, flip=-1)
    images = normalise(clips.images[1:])
    for model, answer in zip(models.values(), box.answers, strict=True):
        with torch.no_grad():
            a = model.embed_audio(spectrogram(clips.waves[1:]))
            one, two = (
                torch.einsum("bchw,bc->bhw", model.embed_image(x), a)
                for x in (images, warp(images, draw))
            )
        loss = naive_loss(one, two, draw)
        assert answer.loss == pytest.approx(loss, rel=1e-3)
        assert answer.error == pytest.approx(loss / one.var().item(), rel=2e-2)
        said = f"L_geo {answer.loss:.4f}, e(T) {answer.error:.2f}"
        assert said in box.view.alt and said in box.status.value
    assert "two &amp; three" in box.status.value
    assert pixels(box).shape == before.shape and (pixels(box) != before).any()


def test_the_panel_leaves_the_models_as_they_were(panel):
    models, box = panel
    model = models["one"].train()
    statistics = {name: value.clone() for name, value in model.named_buffers()}
    box.controls["angle"].value = 12
    assert model.training
    assert all(torch.equal(v, statistics[n]) for n, v in model.named_buffers())
    model.eval()
