"""Retrieval against naive loops, closed forms, laws of A@K and P@K, and scikit-learn."""

import math
import random

import numpy as np
import pytest
import torch
from sklearn.metrics import label_ranking_average_precision_score, top_k_accuracy_score
from sklearn.neighbors import KNeighborsClassifier

from sslnb import retrieve
from sslnb.data import spectrogram
from sslnb.model import SoundLocaliser
from sslnb.retrieve import hits, pool_image, rank, retrieval_scores


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def features(count, channels=6, seed=0):
    return torch.randn(count, channels, generator=seeded(seed))


def kinds(count, classes=4, seed=0):
    return torch.randint(classes, (count,), generator=seeded(seed + 1_000))


def on_a_circle(*degrees):
    """Unit vectors in the plane: the nearer the angle, the higher the cosine."""
    angle = torch.tensor(degrees, dtype=torch.double) * math.pi / 180
    return torch.stack([angle.cos(), angle.sin()], 1)


def naive(query, gallery, query_labels, gallery_labels, ks, exclude_self=False):
    """A@K and P@K from nothing but loops over Python's numbers."""

    def cosine(x, y):
        dot = sum(a * b for a, b in zip(x, y))
        return dot / math.sqrt(sum(a * a for a in x) * sum(b * b for b in y))

    lists = []
    for i, (x, label) in enumerate(zip(query.tolist(), query_labels)):
        items = [
            (-cosine(x, y), j)
            for j, y in enumerate(gallery.tolist())
            if not (exclude_self and i == j)
        ]
        lists.append([gallery_labels[j] == label for _, j in sorted(items)])
    return {
        name: sum(map(score, lists)) / len(lists)
        for k in ks
        for name, score in (
            (f"A@{k}", lambda one, k=k: float(any(one[:k]))),
            (f"P@{k}", lambda one, k=k: sum(one[:k]) / k),
        )
    }


# --- ranking ------------------------------------------------------------------


def test_the_ranking_by_hand():
    query, gallery = on_a_circle(0, 90), on_a_circle(80, 10, 100, -20, 180)
    assert rank(query, gallery).tolist() == [[1, 3, 0, 2, 4], [0, 2, 1, 4, 3]]


def test_no_clip_finds_itself_with_exclude_self():
    x = on_a_circle(0, 10, 30, 180)
    assert rank(x, x)[:, 0].tolist() == [0, 1, 2, 3]
    assert rank(x, x, exclude_self=True).tolist() == [
        [1, 2, 3],
        [0, 2, 3],
        [1, 0, 3],
        [2, 1, 0],
    ]


@pytest.mark.parametrize("k, own, most", [(0, False, 4), (5, False, 4), (4, True, 3)])
def test_no_more_are_ranked_than_can_be_found(k, own, most):
    x = on_a_circle(0, 10, 30, 180)
    with pytest.raises(ValueError, match=f"k is {k}; need 1 to {most}"):
        rank(x, x, exclude_self=own, k=k)


def test_only_the_own_item_is_left_out_however_far_it_is():
    sounds, pictures = on_a_circle(0, 90, 180), on_a_circle(180, 270, 0)
    order = rank(sounds, pictures, exclude_self=True)
    assert [sorted(row) for row in order.tolist()] == [[1, 2], [0, 2], [0, 1]]


@pytest.mark.parametrize("channels", [28, 34, 66, 93])
@pytest.mark.parametrize("count", [3, 50])
def test_equal_items_keep_the_order_of_the_gallery(count, channels):
    # a matrix product in single precision rounds equal columns differently here
    for seed in range(20):
        once = features(count, channels, seed)
        place = torch.randperm(2 * count, generator=seeded(seed))
        order = rank(features(40, channels, seed + 50), torch.cat([once, once])[place])
        position = order.argsort(dim=1)  # (Q, 2 count)
        first, second = (place % count).argsort(stable=True).view(count, 2).T
        assert (position[:, first] < position[:, second]).all()


def test_a_gallery_of_equal_items_is_returned_as_it_stands():
    order = rank(features(5, 7), features(1, 7, seed=1).expand(33, 7))
    assert (order == torch.arange(33)).all()


def test_ranking_in_blocks_is_ranking_at_once(monkeypatch):
    x, y = features(23), features(23, seed=1)
    whole = [rank(x, y), rank(x, y, exclude_self=True), rank(x, y, True, k=4)]
    monkeypatch.setattr(retrieve, "BLOCK", 5)
    for found, expected in zip(
        [rank(x, y), rank(x, y, exclude_self=True), rank(x, y, True, k=4)], whole
    ):
        assert torch.equal(found, expected)
    assert whole[2].shape == (23, 4)


@pytest.mark.parametrize("exclude_self", [False, True])
@pytest.mark.parametrize("noise", [0, 1e-9, 1e-7, 1e-6, 1e-4, 1])
def test_the_k_best_are_the_first_of_all(noise, exclude_self, monkeypatch):
    # groups of items that single precision can tell apart, or cannot
    x = features(12, 40)[torch.arange(96) % 12].double()
    x = x + noise * features(96, 40, seed=1)
    y = x if exclude_self else x[torch.randperm(96, generator=seeded(2))]
    cosine = (x / x.norm(dim=1)[:, None]) @ (y / y.norm(dim=1)[:, None]).T
    cosine = cosine.float().numpy()
    if exclude_self:
        np.fill_diagonal(cosine, -np.inf)
    expected = np.argsort(-cosine, axis=1, kind="stable")
    for block in (7, 1_024):  # a block's memory does not depend on the queries
        monkeypatch.setattr(retrieve, "BLOCK", block)
        for k in (1, 3, 7, 8, 30):
            found = rank(x, y, exclude_self, k)
            assert torch.equal(found, rank(x, y, exclude_self)[:, :k])
            assert (found.numpy() == expected[:, :k]).all()


def test_few_of_many_are_found_without_sorting_all(monkeypatch):
    x = features(300, 40)
    expected = rank(x, x, True)[:, :5]
    sizes = []
    sort = retrieve._sorted
    monkeypatch.setattr(
        retrieve, "_sorted", lambda q, *rest: sizes.append(len(q)) or sort(q, *rest)
    )
    assert torch.equal(rank(x, x, True, k=5), expected)
    assert sum(sizes) == 0
    torch.set_float32_matmul_precision("medium")  # of products nothing is known then
    try:
        assert torch.equal(rank(x, x, True, k=5), expected)
    finally:
        torch.set_float32_matmul_precision("highest")
    assert sum(sizes) == 300


def test_hits_say_of_each_rank_whether_it_is_right_and_rank_last_what_is_left_out():
    similarity = torch.randn(8, 10, generator=seeded())
    similarity[:, 3] = similarity[:, 7]  # equal items keep their order
    query, gallery = kinds(8, 3).numpy(), kinds(10, 3, 1).numpy()
    leave_out = torch.rand(8, 10, generator=seeded(1)) < 0.3
    found = hits(similarity, query, gallery, leave_out)
    for q in range(8):
        left = [g for g in range(10) if not leave_out[q, g]]
        left.sort(key=lambda g: -similarity[q, g])
        right = [gallery[g] == query[q] for g in left]
        assert found[q].tolist() == right + [False] * (10 - len(left))


def test_features_that_are_given_stay_as_they_were():
    x = features(9)
    before = x.clone()
    rank(x, x, exclude_self=True)
    assert torch.equal(x, before)


def test_half_precision_features_are_ranked_as_their_values():
    x = features(30).half()
    assert torch.equal(rank(x, x), rank(x.float(), x.float()))


# --- A@K and P@K ----------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("exclude_self", [False, True])
def test_scores_are_those_of_loops(seed, exclude_self):
    x, y = features(17, seed=seed), features(17, seed=seed + 100)
    q, g = kinds(17, seed=seed), kinds(17, seed=seed + 100)
    if exclude_self:
        g = q
    ks = (1, 2, 5, 16)
    found = retrieval_scores(x, y, q, g, ks, exclude_self)
    assert found == pytest.approx(
        naive(x, y, q.tolist(), g.tolist(), ks, exclude_self), abs=1e-12
    )


def test_scores_of_fewer_queries_than_items_are_those_of_loops():
    x, y, q, g = features(5), features(31, seed=1), kinds(5), kinds(31, seed=1)
    expected = naive(x, y, q.tolist(), g.tolist(), (1, 5, 10))
    assert retrieval_scores(x, y, q, g) == pytest.approx(expected, abs=1e-12)


def test_scores_by_hand():
    query, gallery = on_a_circle(0, 90), on_a_circle(5, 20, 50, 100)
    found = retrieval_scores(query, gallery, "ab", "baab", ks=(1, 2, 4))
    # a finds b a a b; b finds b a a b too
    assert found == {"A@1": 0.5, "P@1": 0.5, "A@2": 1, "P@2": 0.5, "A@4": 1, "P@4": 0.5}


def test_the_query_itself_is_a_hit_unless_it_is_left_out():
    x, labels = on_a_circle(0, 40, 90), ["a", "b", "c"]
    assert retrieval_scores(x, x, labels, labels, ks=(1,))["A@1"] == 1
    assert retrieval_scores(x, x, labels, labels, (1, 2), exclude_self=True) == {
        "A@1": 0,
        "P@1": 0,
        "A@2": 0,
        "P@2": 0,
    }


def test_features_of_one_direction_a_class_score_one():
    labels = torch.arange(5).repeat(12)
    x = torch.eye(5)[labels] + 0.01 * features(60, 5)
    found = retrieval_scores(x, x, labels, labels, exclude_self=True)
    assert set(found.values()) == {1.0}


def test_a_class_that_the_gallery_lacks_is_never_found():
    x = features(12)
    found = retrieval_scores(x[:4], x, [7] * 4, [3] * 12, ks=(1, 12))
    assert set(found.values()) == {0.0}


@pytest.mark.parametrize("seed", range(30))
def test_laws_of_a_and_p(seed):
    chance = random.Random(seed)
    count, classes = chance.randrange(3, 40), chance.randrange(1, 9)
    x, y = features(count, chance.randrange(1, 9), seed), kinds(count, classes, seed)
    ks = range(1, count)
    s = retrieval_scores(x, x, y, y, ks, exclude_self=True)
    assert s["A@1"] == s["P@1"]
    for k in ks:
        assert 0 <= s[f"P@{k}"] <= s[f"A@{k}"] <= min(1, k * s[f"P@{k}"]) + 1e-12
        assert s[f"A@{k}"] >= s[f"A@{max(1, k - 1)}"]


def test_with_the_whole_gallery_p_is_the_share_of_the_class():
    x, y = features(21), kinds(21)
    found = retrieval_scores(x, x, y, y, ks=(20,), exclude_self=True)["P@20"]
    same = (y[:, None] == y).sum(1) - 1
    assert found == pytest.approx((same / 20).mean().item())


def test_a_mean_over_classes_weighs_every_class_alike():
    x = on_a_circle(0, 1, 2, 3, 90, 45)
    labels = ["a", "a", "a", "a", "b", "b"]  # each a finds an a; b finds b, and b an a
    scores = {
        average: retrieval_scores(x, x, labels, labels, (1,), True, average)["A@1"]
        for average in ("query", "class")
    }
    assert scores == pytest.approx({"query": 5 / 6, "class": (1 + 1 / 2) / 2})


def test_a_mean_over_classes_is_that_of_loops_and_equal_for_equal_classes():
    x, y = features(40), kinds(40, classes=5)
    each = [
        naive(x[y == c], x, y[y == c].tolist(), y.tolist(), (1, 3)) for c in y.unique()
    ]
    found = retrieval_scores(x, x, y, y, (1, 3), average="class")
    assert found == pytest.approx({k: np.mean([e[k] for e in each]) for k in found})
    even = torch.arange(40) % 5
    assert retrieval_scores(x, x, even, even, average="class") == pytest.approx(
        retrieval_scores(x, x, even, even)
    )


# --- what must not matter ---------------------------------------------------------


def test_the_length_of_a_feature_does_not_matter():
    x, y, q, g = features(19), features(25, seed=1), kinds(19), kinds(25, seed=1)
    scale = 10 ** features(25, 1, seed=2).clamp(-3, 3)
    assert retrieval_scores(7 * x, scale * y, q, g) == retrieval_scores(x, y, q, g)


def test_a_common_rotation_does_not_matter():
    x, y, q, g = features(19), features(25, seed=1), kinds(19), kinds(25, seed=1)
    turn, _ = torch.linalg.qr(features(6, 6, seed=2))
    assert retrieval_scores(x @ turn, y @ turn, q, g) == retrieval_scores(x, y, q, g)


def test_the_order_of_gallery_and_queries_does_not_matter():
    x, y, q, g = features(19), features(25, seed=1), kinds(19), kinds(25, seed=1)
    expected = retrieval_scores(x, y, q, g)
    for seed in range(5):
        i = torch.randperm(19, generator=seeded(seed))
        j = torch.randperm(25, generator=seeded(seed))
        assert retrieval_scores(x[i], y[j], q[i], g[j]) == pytest.approx(expected)


def test_labels_may_be_strings_numbers_arrays_or_tensors():
    x, y = features(24), kinds(24)
    numbers = y.tolist()
    expected = retrieval_scores(x, x, y, y, exclude_self=True)
    names = [f"class {n}" for n in numbers]
    for labels in (
        numbers,
        tuple(numbers),
        np.array(numbers),
        names,
        np.array(names),
        y.to(torch.int32),
        y.double(),
    ):
        assert retrieval_scores(x, x, labels, labels, exclude_self=True) == expected
    assert retrieval_scores(x, x, y, np.array(numbers), exclude_self=True) == expected


def test_features_may_be_arrays():
    x, y, labels = features(24), features(24, seed=1), kinds(24).tolist()
    found = retrieval_scores(x.numpy(), y.double().numpy(), labels, labels)
    assert found == retrieval_scores(x, y.double(), labels, labels)
    assert torch.equal(rank(x.numpy(), y.numpy()), rank(x, y))


@pytest.mark.parametrize("training", [False, True])
def test_clips_are_embedded_in_eval_mode_and_the_mode_stays(training):
    torch.manual_seed(0)
    model = SoundLocaliser.from_preset("laptop").train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    images = torch.rand(3, 3, 96, 96, generator=seeded())
    waves = torch.rand(3, 48_000, generator=seeded(1)) - 0.5
    sounds, pictures = retrieve.embed_clips(model, zip(images.split(2), waves.split(2)))
    assert model.training == training
    assert not sounds.requires_grad and not pictures.requires_grad
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    model.eval()
    torch.testing.assert_close(
        sounds, model.embed_audio(spectrogram(waves)).detach(), atol=1e-5, rtol=0
    )


# --- chance -----------------------------------------------------------------------


def test_random_features_score_what_drawing_without_replacement_gives():
    labels = torch.tensor([0] * 3 + [1] * 9 + [2] * 28)
    repeats = []
    for seed in range(150):
        x = features(40, 24, seed)
        repeats.append(
            list(retrieval_scores(x, x, labels, labels, exclude_self=True).values())
        )
    repeats = torch.tensor(repeats)  # (150, 6)
    others = (labels[:, None] == labels).sum(1).tolist()
    expected = []
    for k in (1, 5, 10):
        none = [math.comb(40 - n, k) / math.comb(39, k) for n in others]  # of n − 1
        expected += [1 - np.mean(none), np.mean([(n - 1) / 39 for n in others])]
    error = repeats.std(0) / len(repeats) ** 0.5
    assert error.max() < 0.01
    assert ((repeats.mean(0) - torch.tensor(expected)).abs() < 4 * error).all()


# --- scikit-learn's opinion -----------------------------------------------------------


def test_a_at_1_is_the_accuracy_of_scikit_learns_nearest_neighbour():
    x, y = features(200), kinds(200, classes=7)
    query, labels = features(50, seed=1), kinds(50, classes=7, seed=1)
    nearest = KNeighborsClassifier(1, algorithm="brute", metric="cosine")
    expected = nearest.fit(x.numpy(), y.numpy()).score(query.numpy(), labels.numpy())
    assert retrieval_scores(query, x, labels, y, ks=(1,))["A@1"] == pytest.approx(
        expected
    )


@pytest.mark.parametrize("k", [1, 3, 8])
def test_a_at_k_is_scikit_learns_top_k_where_a_class_has_one_item(k):
    query, gallery = features(60), features(12, seed=1)
    labels = kinds(60, classes=12)
    cosine = (
        torch.nn.functional.normalize(query, dim=1)
        @ torch.nn.functional.normalize(gallery, dim=1).T
    )
    expected = top_k_accuracy_score(labels, cosine, k=k, labels=range(12))
    found = retrieval_scores(query, gallery, labels, range(12), ks=(k,))
    assert found[f"A@{k}"] == pytest.approx(expected)
    assert found[f"P@{k}"] == pytest.approx(expected / k)


def test_the_mean_of_p_at_every_right_rank_is_scikit_learns_average_precision():
    query, gallery = features(30), features(20, seed=1)
    q, g = kinds(30), kinds(20, seed=1)
    order = rank(query, gallery)
    precision = []
    for i in range(30):
        hit = (g[order[i]] == q[i]).tolist()
        precision.append(
            np.mean([sum(hit[:k]) / k for k in range(1, 21) if hit[k - 1]])
        )
    cosine = (
        torch.nn.functional.normalize(query, dim=1)
        @ torch.nn.functional.normalize(gallery, dim=1).T
    )
    truth = (q[:, None] == g).numpy()
    assert np.mean(precision) == pytest.approx(
        label_ranking_average_precision_score(truth, cosine.numpy())
    )


# --- pooling ----------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["max", "mean"])
@pytest.mark.parametrize("normalised", [False, True])
def test_pooling_is_that_of_loops(how, normalised):
    v = torch.rand(2, 3, 4, 5, generator=seeded())
    for found, picture in zip(pool_image(v, how, normalised), v.tolist()):
        cells = [
            [picture[c][y][x] for c in range(3)] for y in range(4) for x in range(5)
        ]
        if normalised:
            cells = [[u / math.hypot(*cell) for u in cell] for cell in cells]
        pooled = [max(u) if how == "max" else sum(u) / 20 for u in zip(*cells)]
        length = math.hypot(*pooled)
        assert found.tolist() == pytest.approx([u / length for u in pooled], abs=1e-6)


def test_the_default_pooling_is_the_maximum_of_unit_cells():
    v = torch.rand(2, 3, 4, 5, generator=seeded())
    assert torch.equal(pool_image(v), pool_image(v, "max", True))
    assert not torch.allclose(pool_image(v), pool_image(v, "max", False))
    assert not torch.allclose(pool_image(v), pool_image(v, "mean", True))


def test_pooling_forgets_where_cells_are_and_gives_unit_vectors():
    v = torch.rand(3, 8, 4, 4, generator=seeded())
    moved = v.flatten(2)[..., torch.randperm(16, generator=seeded())].view_as(v)
    for how in ("max", "mean"):
        pooled = pool_image(v, how)
        torch.testing.assert_close(pooled, pool_image(moved, how))
        torch.testing.assert_close(pooled.norm(dim=1), torch.ones(3))


def test_a_picture_of_one_cell_is_that_cell():
    cell = torch.nn.functional.normalize(features(5, 8), dim=1)
    for how in ("max", "mean"):
        torch.testing.assert_close(pool_image(cell[..., None, None], how), cell)


# --- bad input -----------------------------------------------------------------------------


def test_features_of_the_wrong_shape_are_named():
    with pytest.raises(ValueError, match=r"\(3, 4\) and \(5, 6\); need \(Q, C\)"):
        rank(features(3, 4), features(5, 6))
    with pytest.raises(ValueError, match=r"\(4,\) and \(3, 4\)"):
        rank(features(3, 4)[0], features(3, 4))
    with pytest.raises(ValueError, match=r"\(2, 3, 4\); need \(B, C, h, w\)"):
        pool_image(torch.ones(2, 3, 4))


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("side", ["query", "gallery"])
def test_features_that_are_not_finite_are_named(side, value):
    x = {"query": features(3), "gallery": features(5, seed=1)}
    x[side][2, 1] = value
    with pytest.raises(ValueError, match=f"{side} holds features that are not finite"):
        retrieval_scores(x["query"], x["gallery"], [0] * 3, [0] * 5, ks=(1,))


@pytest.mark.parametrize("q, g", [(2, 5), (3, 4)])
def test_a_label_too_few_is_named(q, g):
    message = rf"3 queries have {q} labels and 5 gallery items {g}; need one each"
    with pytest.raises(ValueError, match=message):
        retrieval_scores(features(3), features(5), [0] * q, [0] * g)


@pytest.mark.parametrize("ks", [(0,), (1, 6), (-1,), (), (2.5,)])
def test_a_k_that_cannot_be_is_named(ks):
    with pytest.raises(ValueError, match=r"ks is .*; need whole numbers from 1 to 5"):
        retrieval_scores(features(3), features(5), [0] * 3, [0] * 5, ks=ks)


def test_with_exclude_self_there_is_one_item_less_to_find():
    x, labels = features(5), [0] * 5
    assert retrieval_scores(x, x, labels, labels, ks=(5,))["P@5"] == 1
    with pytest.raises(ValueError, match="from 1 to 4"):
        retrieval_scores(x, x, labels, labels, ks=(5,), exclude_self=True)


def test_no_queries_are_an_error():
    with pytest.raises(ValueError, match="there are no queries"):
        retrieval_scores(features(0), features(5), [], [0] * 5, ks=(1,))


def test_exclude_self_of_different_clips_is_an_error():
    with pytest.raises(ValueError, match="the same clips; there are 3 and 5"):
        retrieval_scores(features(3), features(5), [0] * 3, [0] * 5, (1,), True)
    with pytest.raises(ValueError, match="the same clips, but their labels differ"):
        retrieval_scores(features(3), features(3), [0, 1, 1], [0, 1, 2], (1,), True)


def test_an_unknown_pooling_or_average_is_named_with_what_is_known():
    with pytest.raises(ValueError, match="'median'; known are 'max' and 'mean'"):
        pool_image(torch.ones(1, 2, 3, 3), how="median")
    with pytest.raises(ValueError, match="'clip'; known are 'query' and 'class'"):
        retrieval_scores(
            features(3), features(5), [0] * 3, [0] * 5, (1,), average="clip"
        )
