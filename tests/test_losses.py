"""The losses of all pairs against the equations, written out cell by cell."""

import math
import re

import pytest
import torch

from sslnb.losses import attention_loss, contrastive_loss, weighted_mean

FORMS = ("paper", "release")
SHAPES = [(2, 1, 1), (2, 3, 4), (3, 5, 2), (5, 1, 7), (6, 12, 12)]  # B, h, w


def maps(batch, height, width, low=-0.3, high=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(batch, batch, height, width, generator=generator)
    return low + (high - low) * values


def constant(batch, value, dtype=torch.float32, height=3, width=4):
    return torch.full((batch, batch, height, width), value, dtype=dtype)


# --- the equations in Python's own numbers, without tensors and without log σ


def sigmoid(z):
    return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))


def mean_by_mask(values, mask):
    return sum(m * s for m, s in zip(mask, values)) / sum(mask)


def loop_paper(similarity, epsilon=0.65, tau=0.03):
    """Equations 5 to 8. S_{i→j}, sound i on image j, is similarity[j][i]."""
    batch, total = len(similarity), 0.0
    for i in range(batch):
        own = similarity[i][i]
        mask = [sigmoid((s - epsilon) / tau) for s in own]
        rest = [sigmoid(-(s - epsilon) / tau) for s in own]
        positive = mean_by_mask(own, mask)
        negative = mean_by_mask(own, rest)
        for j in range(batch):
            if j != i:
                negative += sum(similarity[j][i]) / len(own)
        ratio = math.exp(positive) / (math.exp(positive) + math.exp(negative))
        total -= math.log(ratio)
    return total / batch


def loop_release(
    similarity, epsilon=0.65, epsilon_negative=0.4, tau=0.03, temperature=0.07
):
    """The trimap cross-entropy: image i against every sound, each its own column."""
    batch, total = len(similarity), 0.0
    for i in range(batch):
        columns = []
        for k in range(batch):
            values = similarity[i][k]
            mask = [sigmoid((s - epsilon) / tau) for s in values]
            columns.append(mean_by_mask(values, mask))
        own = similarity[i][i]
        rest = [sigmoid(-(s - epsilon_negative) / tau) for s in own]
        columns.append(mean_by_mask(own, rest))
        exponentials = [math.exp(c / temperature) for c in columns]
        total -= math.log(exponentials[i] / sum(exponentials))
    return total / batch


def loop(similarity, form, **constants):
    cells = similarity.double().flatten(2).tolist()
    return {"paper": loop_paper, "release": loop_release}[form](cells, **constants)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_a_loop_over_clips_and_cells(form, shape):
    similarity = maps(*shape)
    found = contrastive_loss(similarity, form).item()
    assert found == pytest.approx(loop(similarity, form), rel=1e-5)


@pytest.mark.parametrize(
    "constants",
    [
        {"epsilon": 0.45},
        {"epsilon_negative": 0.6},
        {"epsilon": 0.5, "epsilon_negative": 0.5},
        {"tau": 0.2},
        {"temperature": 0.5},
        {"epsilon": 0.3, "epsilon_negative": 0.1, "tau": 0.1, "temperature": 1.0},
    ],
)
def test_every_constant_of_the_release_form_counts(constants):
    similarity = maps(4, 3, 5, 0.4, 0.8)
    found = contrastive_loss(similarity, **constants).item()
    assert found == pytest.approx(loop(similarity, "release", **constants), rel=1e-5)
    assert found != pytest.approx(contrastive_loss(similarity).item(), rel=1e-3)


@pytest.mark.parametrize("constants", [{"epsilon": 0.45}, {"tau": 0.2}])
def test_every_constant_of_the_paper_form_counts(constants):
    similarity = maps(4, 3, 5)
    found = contrastive_loss(similarity, "paper", **constants).item()
    assert found == pytest.approx(loop(similarity, "paper", **constants), rel=1e-5)
    assert abs(found - contrastive_loss(similarity, "paper").item()) > 1e-3


def test_the_paper_form_has_one_threshold_and_no_temperature():
    similarity = maps(4, 3, 5)
    plain = contrastive_loss(similarity, "paper")
    other = contrastive_loss(similarity, "paper", epsilon_negative=0.1, temperature=3.0)
    assert torch.equal(plain, other)


def test_release_is_the_form_by_default():
    similarity = maps(3, 2, 2)
    assert torch.equal(
        contrastive_loss(similarity), contrastive_loss(similarity, "release")
    )


# --- directions and the diagonal, with maps of one cell


def test_release_contrasts_an_image_with_other_sounds():
    # own .7, so is its background; image 0 against sound 1: .5, image 1 against sound 0: .1
    similarity = torch.tensor([[0.7, 0.5], [0.1, 0.7]])[:, :, None, None]
    need = sum(math.log(2 + math.exp((s - 0.7) / 0.07)) for s in (0.5, 0.1)) / 2
    assert contrastive_loss(similarity).item() == pytest.approx(need, rel=1e-5)


def test_paper_contrasts_a_sound_with_other_images():
    similarity = torch.rand(3, 3, 1, 1, generator=torch.Generator().manual_seed(1))
    s = similarity[:, :, 0, 0].tolist()
    others = [s[1][0] + s[2][0], s[0][1] + s[2][1], s[0][2] + s[1][2]]  # columns
    need = sum(math.log(1 + math.exp(n)) for n in others) / 3
    assert contrastive_loss(similarity, "paper").item() == pytest.approx(need, rel=1e-5)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("own", [-1.0, -0.4, 0.0, 0.6, 1.0])
def test_an_own_map_is_never_its_own_negative(form, own):
    """A factor of −99 on the diagonal instead of −∞ explodes for own < 0."""
    similarity = constant(3, 0.2)
    index = torch.arange(3)
    similarity[index, index] = own
    # positive and background are both `own`
    need = {
        "paper": math.log(1 + math.exp(2 * 0.2)),
        "release": math.log(2 + 2 * math.exp((0.2 - own) / 0.07)),
    }[form]
    assert contrastive_loss(similarity, form).item() == pytest.approx(need, rel=1e-5)


# --- closed forms and invariances


@pytest.mark.parametrize("batch", [2, 3, 32])
@pytest.mark.parametrize("value", [-1.0, 0.0, 0.5, 0.9, 1.0])
def test_identical_maps_have_a_closed_form(batch, value):
    similarity = constant(batch, value)
    assert contrastive_loss(similarity).item() == pytest.approx(
        math.log(batch + 1), rel=1e-5
    )
    need = (batch - 1) * value
    need = (
        need + math.log1p(math.exp(-need)) if need > 0 else math.log1p(math.exp(need))
    )
    assert contrastive_loss(similarity, "paper").item() == pytest.approx(need, rel=1e-5)


def test_perfect_separation_is_the_minimum_for_cosines_above_zero():
    similarity = torch.zeros(4, 4, 2, 3)
    similarity[torch.arange(4), torch.arange(4), 0] = 1.0  # the upper row sounds
    release = math.log1p(4 * math.exp(-1 / 0.07))
    assert contrastive_loss(similarity).item() == pytest.approx(release, abs=5e-7)
    paper = math.log1p(math.exp(-1))
    assert contrastive_loss(similarity, "paper").item() == pytest.approx(
        paper, rel=1e-5
    )
    worse = similarity.lerp(torch.full_like(similarity, 0.5), 0.5)
    for form in FORMS:
        assert contrastive_loss(worse, form) > contrastive_loss(similarity, form)


def test_release_goes_to_zero_with_the_temperature():
    similarity = torch.zeros(4, 4, 2, 3)
    similarity[torch.arange(4), torch.arange(4), 0] = 1.0
    losses = [contrastive_loss(similarity, temperature=t) for t in (1, 0.3, 0.1, 0.01)]
    assert losses == sorted(losses, reverse=True) and losses[-1] < 1e-12


@pytest.mark.parametrize("form", FORMS)
def test_the_order_of_clips_does_not_matter(form):
    similarity = maps(6, 3, 4)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(2))
    again = contrastive_loss(similarity[order][:, order], form)
    assert again.item() == pytest.approx(
        contrastive_loss(similarity, form).item(), rel=1e-6
    )


@pytest.mark.parametrize("form", FORMS)
def test_which_sound_belongs_to_which_image_matters(form):
    similarity = maps(6, 3, 4)
    paired = contrastive_loss(similarity, form)
    shifted = contrastive_loss(similarity.roll(1, 1), form)
    assert abs(paired - shifted) > 1e-3


@pytest.mark.parametrize("form", FORMS)
def test_the_order_of_cells_does_not_matter(form):
    similarity = maps(4, 3, 5)
    order = torch.randperm(15, generator=torch.Generator().manual_seed(2))
    shuffled = similarity.flatten(2)[..., order].unflatten(2, (5, 3))
    assert contrastive_loss(shuffled, form).item() == pytest.approx(
        contrastive_loss(similarity, form).item(), rel=1e-6
    )


@pytest.mark.parametrize("form", FORMS)
def test_strides_do_not_matter_and_the_input_stays(form):
    similarity = maps(4, 3, 5)
    before = similarity.clone()
    strided = similarity.permute(2, 3, 0, 1).contiguous().permute(2, 3, 0, 1)
    assert not strided.is_contiguous()
    assert contrastive_loss(strided, form).item() == pytest.approx(
        contrastive_loss(similarity, form).item(), rel=1e-6
    )
    assert torch.equal(similarity, before)


# --- gradients


def loss_in_double(similarity, form):
    """The same equations on tensors of doubles, cell by cell, for autograd."""

    def mean(values, logits):
        weights = [z.sigmoid() for z in logits]
        return sum(w * s for w, s in zip(weights, values)) / sum(weights)

    batch, losses = len(similarity), []
    for i in range(batch):
        own = list(similarity[i, i].flatten())
        positive = mean(own, [(s - 0.65) / 0.03 for s in own])
        if form == "paper":
            negative = mean(own, [(0.65 - s) / 0.03 for s in own])
            for j in range(batch):
                if j != i:
                    negative = negative + similarity[j, i].mean()
            losses.append((1 + (negative - positive).exp()).log())
            continue
        terms = [mean(own, [(0.4 - s) / 0.03 for s in own])]
        for k in range(batch):
            if k != i:
                other = list(similarity[i, k].flatten())
                terms.append(mean(other, [(s - 0.65) / 0.03 for s in other]))
        losses.append((1 + sum(((t - positive) / 0.07).exp() for t in terms)).log())
    return sum(losses) / batch


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("low, high", [(0.3, 0.8), (-0.5, 1.0)])
def test_gradient_is_that_of_the_equations(form, low, high):
    exact = maps(3, 2, 2, low, high, seed=3).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda s: loss_in_double(s, form), exact)
    (need,) = torch.autograd.grad(loss_in_double(exact, form), exact)
    similarity = exact.detach().float().requires_grad_()
    (found,) = torch.autograd.grad(contrastive_loss(similarity, form), similarity)
    torch.testing.assert_close(found.double(), need, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_unpaired_maps_are_pushed_down_and_the_own_peak_up(form):
    similarity = maps(5, 3, 4, 0.55, 0.75, seed=4)
    index = torch.arange(5)
    similarity[index, index, 1, 1] = 0.8
    similarity.requires_grad_()
    (gradient,) = torch.autograd.grad(contrastive_loss(similarity, form), similarity)
    assert (gradient[index, index, 1, 1] < 0).all()
    unpaired = gradient[~torch.eye(5, dtype=torch.bool)].sum((1, 2))
    assert (unpaired > 0).all()


@pytest.mark.parametrize("batch", [2, 8, 32])
def test_pushes_of_the_release_form_add_up_to_its_pull(batch):
    """With maps of one cell the masks are 1: softmax gradients sum to zero."""
    similarity = maps(batch, 1, 1, 0, 1, seed=5).requires_grad_()
    (gradient,) = torch.autograd.grad(contrastive_loss(similarity), similarity)
    rows = gradient.sum((1, 2, 3))  # own foreground, background and all others
    torch.testing.assert_close(rows, torch.zeros(batch), atol=1e-5, rtol=0)


def test_the_paper_form_pushes_every_unpaired_map_alike():
    similarity = maps(8, 3, 4, 0.4, 0.8).requires_grad_()
    (gradient,) = torch.autograd.grad(contrastive_loss(similarity, "paper"), similarity)
    unpaired = gradient[~torch.eye(8, dtype=torch.bool)].view(8, 7, 3, 4)
    torch.testing.assert_close(
        unpaired.sum((2, 3)), torch.full((8, 7), 1 / 8), rtol=0.15, atol=0
    )
    assert unpaired.flatten(2).std(2).max() < 1e-7  # a plain mean over cells


# --- underflow


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("value", [-1.0, -0.3, 0.0, 0.1, 0.5, 0.65, 0.85, 0.95, 1.0])
def test_value_and_gradient_are_finite(form, dtype, value):
    similarity = constant(4, value, dtype).requires_grad_()
    loss = contrastive_loss(similarity, form)
    loss.backward()
    assert loss.dtype == torch.float32 and loss.isfinite()
    assert similarity.grad.isfinite().all() and similarity.grad.abs().sum() > 0


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("tau", [1e-4, 1e-3, 0.03, 10.0])
def test_any_sharpness_of_the_mask_is_finite(form, tau):
    similarity = maps(4, 3, 4, -1, 1).requires_grad_()
    loss = contrastive_loss(similarity, form, tau=tau)
    loss.backward()
    assert loss.isfinite() and similarity.grad.isfinite().all()


@pytest.mark.parametrize("form", FORMS)
def test_autocast_changes_nothing(form):
    similarity = maps(4, 3, 4)
    with torch.autocast("cpu", torch.bfloat16):
        inside = contrastive_loss(similarity, form)
    assert torch.equal(inside, contrastive_loss(similarity, form))


def test_the_linear_formula_has_no_value_where_ours_has():
    """1 − σ((S − 0.4)/0.03) is 0 in fp32 from about 0.9 on: 0/0."""
    own = torch.full((3, 4), 0.95)
    background = 1 - torch.sigmoid((own - 0.4) / 0.03)
    assert (background * own).sum().div(background.sum()).isnan()
    assert weighted_mean(own, -(own - 0.4) / 0.03).item() == pytest.approx(0.95)
    assert contrastive_loss(constant(4, 0.95)).item() == pytest.approx(math.log(5))


def test_rounding_to_bf16_moves_the_loss_no_more_than_it_moves_the_maps():
    similarity = maps(6, 4, 4, 0, 1)
    for form in FORMS:
        rounded = similarity.bfloat16()
        assert torch.equal(
            contrastive_loss(rounded, form), contrastive_loss(rounded.float(), form)
        )


# --- weighted_mean


@pytest.mark.parametrize("shape", [(1, 1), (4, 5), (3, 2, 6), (2, 3, 4, 5)])
def test_weighted_mean_is_a_sum_over_cells(shape):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(shape, generator=generator)
    logits = 6 * torch.randn(shape, generator=generator)
    found = weighted_mean(values, logits)
    assert found.shape == torch.Size(shape[:-2])
    cells = zip(
        values.flatten(0, -3) if len(shape) > 2 else values[None],
        logits.flatten(0, -3) if len(shape) > 2 else logits[None],
    )
    need = [
        mean_by_mask(v.flatten().tolist(), [sigmoid(x) for x in z.flatten().tolist()])
        for v, z in cells
    ]
    torch.testing.assert_close(found.flatten(), torch.tensor(need))


def test_weighted_mean_by_a_hard_mask_is_the_mean_inside_it():
    values = maps(2, 5, 6, 0, 1, seed=6)
    for epsilon in (0.2, 0.5, 0.8):
        hard = torch.stack([v[v > epsilon].mean() for v in values.flatten(0, 1)])
        found = weighted_mean(values, (values - epsilon) / 1e-5).flatten()
        torch.testing.assert_close(found, hard)


def test_weighted_mean_by_an_empty_hard_mask_is_the_nearest_cell():
    values = maps(2, 5, 6, 0, 0.5, seed=6)
    found = weighted_mean(values, (values - 0.65) / 1e-5)
    torch.testing.assert_close(found, values.amax((2, 3)))


def test_weighted_mean_by_a_flat_mask_is_the_mean():
    values = maps(2, 5, 6)
    for logit in (-1e4, -50.0, 0.0, 50.0, 1e4):
        found = weighted_mean(values, torch.full_like(values, logit))
        torch.testing.assert_close(found, values.mean((2, 3)))


def test_weighted_mean_stays_between_least_and_most():
    values = maps(3, 4, 5, -1, 1)
    found = weighted_mean(values, 40 * maps(3, 4, 5, -1, 1, seed=7))
    assert (found >= values.amin((2, 3)) - 1e-6).all()
    assert (found <= values.amax((2, 3)) + 1e-6).all()


def test_weighted_mean_has_the_gradient_of_its_formula():
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(2, 3, 2, generator=generator, dtype=torch.double)
    logits = 3 * torch.randn(2, 3, 2, generator=generator, dtype=torch.double)
    values.requires_grad_(), logits.requires_grad_()
    assert torch.autograd.gradcheck(weighted_mean, (values, logits))
    weights = logits.sigmoid()
    need = (weights * values).sum((1, 2)) / weights.sum((1, 2))
    torch.testing.assert_close(weighted_mean(values, logits), need)


# --- bad input


@pytest.mark.parametrize(
    "shape", [(3,), (3, 3), (3, 3, 4), (3, 2, 4, 4), (3, 3, 4, 4, 1)]
)
def test_another_shape_is_named(shape):
    with pytest.raises(
        ValueError, match=r"similarity has shape .*need \(B, B, h, w\)"
    ) as e:
        contrastive_loss(torch.zeros(shape))
    assert str(tuple(shape)) in str(e.value)


@pytest.mark.parametrize("form", FORMS)
def test_a_batch_of_one_has_nothing_to_contrast_with(form):
    with pytest.raises(ValueError, match=r"batch of one .*at least two"):
        contrastive_loss(torch.zeros(1, 1, 4, 4), form)


def test_an_unknown_form_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'infonce'.*'release' and 'paper'"):
        contrastive_loss(torch.zeros(2, 2, 4, 4), "infonce")


# --- the baseline "Attention"


def loop_attention(similarity, temperature=0.07):
    """Each clip's own sound against the next clip's, cell by cell."""
    batch, total = len(similarity), 0.0
    for i in range(batch):
        distances = []
        for k in (i, (i + 1) % batch):
            cells = similarity[i][k]
            weights = [math.exp(s / temperature) for s in cells]
            score = sum(w * s for w, s in zip(weights, cells)) / sum(weights)
            distances.append(math.sqrt(2 - 2 * score))
        own, other = map(math.exp, distances)
        total += (own / (own + other)) ** 2
    return total / batch


@pytest.mark.parametrize("temperature", [0.07, 0.5])
@pytest.mark.parametrize("shape", SHAPES)
def test_attention_equals_a_loop_over_clips_and_cells(shape, temperature):
    similarity = maps(*shape, high=0.95)
    need = loop_attention(similarity.flatten(2).tolist(), temperature)
    assert attention_loss(similarity, temperature).item() == pytest.approx(need)


@pytest.mark.parametrize("value", [-1.0, 0.0, 0.4, 1.0])
def test_sounds_that_attention_cannot_tell_apart_cost_a_quarter(value):
    assert attention_loss(constant(4, value)).item() == pytest.approx(0.25)


def test_attention_is_pulled_to_the_own_sound_and_pushed_from_the_next():
    similarity = maps(4, 3, 3, high=0.9).requires_grad_()
    attention_loss(similarity).backward()
    slope = similarity.grad.sum((2, 3))  # of one more cosine everywhere
    for i in range(4):
        for k in range(4):
            if k == i:
                assert slope[i, k] < 0
            elif k == (i + 1) % 4:
                assert slope[i, k] > 0
            else:
                assert slope[i, k] == 0


def test_attention_has_a_finite_slope_where_the_own_sound_is_perfect():
    similarity = constant(3, 1.0).requires_grad_()
    attention_loss(similarity).backward()
    assert similarity.grad.isfinite().all()


@pytest.mark.parametrize("split", [1, 2, 4])
def test_attention_of_the_rows_of_two_processes_is_that_of_the_whole(split):
    similarity = maps(5, 3, 4)
    parts = [torch.arange(5)[:split], torch.arange(5)[split:]]
    found = sum(
        len(own) / 5 * attention_loss(similarity[own], own=own) for own in parts
    )
    torch.testing.assert_close(found, attention_loss(similarity))


@pytest.mark.parametrize("shape", [(3, 3), (3, 2, 4, 4), (1, 1, 4, 4)])
def test_attention_refuses_what_the_contrastive_loss_refuses(shape):
    with pytest.raises(ValueError) as found:
        attention_loss(torch.zeros(shape))
    with pytest.raises(ValueError, match=re.escape(str(found.value))):
        contrastive_loss(torch.zeros(shape))
