"""The tables of notebook 07 against loops that follow the definitions."""

import itertools
import re

import numpy as np
import pytest
import torch

from sslnb.data import soundstamps
from sslnb.retrieve import retrieval_scores
from sslnb.teach import plot, retrieval


def a_case(queries=12, gallery=15, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    similarity = torch.from_numpy(rng.random((queries, gallery)))
    query = rng.choice(list("abc"[:classes]), queries)
    leave_out = torch.from_numpy(rng.random((queries, gallery)) < 0.2)
    return similarity, query, rng.choice(list("abc"), gallery), leave_out


def lists_of(similarity, query, gallery, leave_out):
    """One list of 0 and 1 a query, without the items that are left out."""
    lists = []
    for row, name, out in zip(similarity.tolist(), query, leave_out.tolist()):
        left = [j for j in range(len(row)) if not out[j]]
        left.sort(key=lambda j: -row[j])
        lists.append([int(gallery[j] == name) for j in left])
    return lists


def test_excerpts_of_one_file_are_of_one_recording():
    many = [soundstamps.compose("open", 0, k, 8) for k in range(40)]
    found = retrieval.recordings(many)
    assert all(
        name.startswith(x.class_name.replace("_", " ")) for name, x in zip(found, many)
    )
    assert len(set(zip(found, [x.sound for x in many]))) == len({x.sound for x in many})


def test_scores_are_those_of_the_module():
    rng = torch.Generator().manual_seed(0)
    features = torch.randn(20, 4, generator=rng)
    unit = features / features.norm(dim=1, keepdim=True)
    labels = np.array(list("abcd") * 5)
    hit = retrieval.hits(unit @ unit.T, labels, labels, torch.eye(20).bool())
    module = retrieval_scores(features, features, labels, labels, exclude_self=True)
    for column, values in retrieval.per_query(hit).items():
        assert values.mean() == pytest.approx(module[column])


@pytest.mark.parametrize("right, gallery, k", [(2, 6, 1), (2, 6, 3), (1, 5, 5)])
def test_chance_is_the_mean_of_all_draws(right, gallery, k):
    draws = list(itertools.combinations([1] * right + [0] * (gallery - right), k))
    some = np.mean([any(draw) for draw in draws])
    share = np.mean([sum(draw) / k for draw in draws])
    assert retrieval.chance(right, gallery, k) == pytest.approx((some, share))


def test_an_interval_resamples_groups():
    values = np.repeat([0.0, 1.0], 50)
    alone, groups = np.arange(100), values.astype(int)
    mean, low, high = retrieval.bounds(values, groups)
    assert (mean, low, high) == (0.5, 0, 1)  # two groups: both may be the same
    _, low, high = retrieval.bounds(values, alone)
    assert 0.38 < low < 0.43 and 0.57 < high < 0.62  # 0.5 ± 1.96 · 0.05
    assert retrieval.interval(values, groups, "+") == "+50 [+0, +100]"
    assert retrieval.bounds(values, alone, seed=1) != retrieval.bounds(values, alone)


def test_queries_with_nothing_to_find_are_dropped():
    similarity, query, gallery, leave_out = a_case(queries=6)
    query[2] = "nowhere else"
    groups = np.arange(6)
    systems = {"untrained": -similarity, "trained": similarity}
    found = retrieval.compare(systems, query, gallery, leave_out, groups, seed=2)
    table, values = found.table, found.values
    lists = [x for x in lists_of(similarity, query, gallery, leave_out) if any(x)]
    assert len(lists) == 5
    assert list(table.index) == ["chance", "untrained", "trained"]
    assert set(table["queries"]) == {5}
    assert set(table["gallery"]) == {min(map(len, lists))}
    p5 = np.array([np.mean(x[:5]) for x in lists])
    assert values["trained"]["P@5"] == pytest.approx(p5)
    guess = [np.mean(x) for x in lists]
    assert values["chance"]["P@1"] == pytest.approx(guess)
    gap = p5.mean() - values["untrained"]["P@5"].mean()
    said = table.loc["untrained", "P@5: trained − this"]
    assert re.fullmatch(rf"{round(100 * gap):+d} \[[+-]\d+, [+-]\d+\]", said)
    assert table.loc["trained", "P@5: trained − this"] == ""
    mean, low, high = found.lead("untrained")["P@5"]
    assert mean == pytest.approx(gap) and low <= mean <= high
    assert said == f"{100 * mean:+.0f} [{100 * low:+.0f}, {100 * high:+.0f}]"


def test_curves_follow_the_lists():
    case = a_case()
    lists = [x for x in lists_of(*case) if any(x)]
    found = retrieval.against_k(*case, ks=(1, 4, 7))
    for i, k in enumerate((1, 4, 7)):
        luck = np.mean([retrieval.chance(sum(x), len(x), k) for x in lists], 0)
        assert found["A@K"][i] == pytest.approx(np.mean([max(x[:k]) for x in lists]))
        assert found["P@K"][i] == pytest.approx(
            np.mean([np.mean(x[:k]) for x in lists])
        )
        assert (found["chance A@K"][i], found["chance P@K"][i]) == pytest.approx(luck)


def test_a_list_is_drawn_among_queries_that_can_be_answered():
    similarity, query, gallery, leave_out = case = a_case()
    query[:-1] = "nowhere else"
    index, best, right = retrieval.draw_list(*case, np.random.default_rng(0), k=4)
    assert index == len(query) - 1
    left = [j for j in range(len(gallery)) if not leave_out[index, j]]
    assert best == sorted(left, key=lambda j: -similarity[index, j].item())[:4]
    assert right == [gallery[j] == query[index] for j in best]


def test_a_copy_is_the_nearest_and_of_the_same_source():
    labels, sources = np.array(list("aaab")), np.array([0, 1, 1, 2])
    similarity = torch.tensor([  # query 0 has no copy; 1 has 2, and then 3, wrong
        [1, 0.9, 0.2, 0.1], [0.3, 1, 0.9, 0.4], [0.5, 0.9, 1, 0.2], [0.1, 0.4, 0.2, 1]
    ])  # fmt: skip
    same = torch.from_numpy(sources[:, None] == sources)
    assert retrieval.a_copy(similarity, same, labels) == (1, 2, 3)
    assert retrieval.a_copy(similarity, same, np.array(list("aaaa")))[0] == 0


def test_precision_is_in_per_cent_of_the_first_that_are_not_left_out():
    similarity, query, gallery, leave_out = case = a_case()
    right = torch.from_numpy(query[:, None] == gallery)
    found = retrieval.precision(similarity, right, leave_out, 4)
    expected = [100 * np.mean(x[:4]) for x in lists_of(*case)]
    assert found.tolist() == pytest.approx(expected)


def test_the_figure_of_hubs_names_the_image_that_is_in_most_lists():
    scenes = {s: soundstamps.compose_many(s, 0, 6, 16) for s in ("test", "open")}
    often = {
        (model, split): torch.tensor([0, 1, 2, 9, 8, 10])
        for model in ("untrained", "trained")
        for split in scenes
    }
    often["trained", "open"] = torch.tensor([25, 1, 1, 1, 1, 1])
    curves, *panels = plot.hubs(often, scenes).axes
    titles = [ax.get_title() for ax in panels]
    assert titles == [
        "test, trained:\nin 10 of 6 lists",
        "open, trained:\nin 25 of 6 lists",
    ]
    for ax, split, most in zip(panels, scenes, (5, 0)):
        shown = np.asarray(ax.images[0].get_array())
        assert np.array_equal(shown, scenes[split][most].image)
    drawn = [line.get_ydata() for line in curves.lines[:4]]
    assert all((np.diff(values) <= 0).all() for values in drawn)
