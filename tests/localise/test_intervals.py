"""Intervals by photograph and recording: against loops, and against no groups."""

import numpy as np
import pytest
import scipy.stats

from sslnb.localise import intervals
from sslnb.localise.intervals import crossed, mean_scores, of_ciou, paired_differences

FEW = 300  # resamples


def width(score):
    return score.high - score.low


def crossed_labels(photos, recordings):
    """Labels (2, photos · recordings): each photograph with each recording once."""
    return np.array(
        [[f"p{i}", f"r{j}"] for i in range(photos) for j in range(recordings)]
    ).T


def test_without_groups_it_is_the_percentile_bootstrap_of_scipy():
    values = np.random.default_rng(0).random(70)
    found = mean_scores({"x": values}, FEW, seed=3)["x"]
    theirs = scipy.stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=FEW,
        method="percentile",
        rng=np.random.default_rng(3),
    ).confidence_interval
    assert found == pytest.approx((values.mean(), theirs.low, theirs.high), rel=1e-12)


@pytest.mark.parametrize("over", [False, True])
def test_weights_equal_a_double_loop_over_photographs_and_recordings(monkeypatch, over):
    rng = np.random.default_rng(0)
    photos, recordings = rng.integers(0, 5, 40), rng.integers(0, 7, 40)
    values, base = rng.random((3, 40)), rng.random(40) if over else np.ones(40)
    drawn = rng.integers(0, 5, (6, 5)), rng.integers(0, 7, (6, 7))

    def one(samples, statistic, *rest):
        assert [len(sample) for sample in samples] == [5, 7]
        for found, p, r in zip(statistic(*drawn, axis=-1).T, *drawn):
            total, sums = 0.0, np.zeros(3)
            for photo in p:  # as often as it was drawn
                for recording in r:
                    for n in range(40):
                        if (photos[n], recordings[n]) == (photo, recording):
                            total += base[n]
                            sums += values[:, n]
            assert found == pytest.approx(sums / total)
        return np.zeros((3, 2))

    monkeypatch.setattr(intervals, "resample", one)
    columns = dict(zip("abc", values))
    groups = [photos, recordings]
    found = mean_scores(columns, groups=groups, over=base if over else None)
    for name, column in columns.items():
        assert found[name].value == pytest.approx(column.sum() / base.sum())


def test_one_clip_per_photograph_and_recording_is_the_ordinary_bootstrap():
    values = {"x": np.random.default_rng(1).normal(size=60)}
    plain = mean_scores(values, FEW)["x"]
    names = [f"{n:02}" for n in range(60)]
    assert mean_scores(values, FEW, groups=names)["x"] == pytest.approx(plain)
    assert mean_scores(values, FEW, groups=[names, names])["x"] == pytest.approx(plain)
    shuffled = np.random.default_rng(2).permutation(names)  # drawn in another order
    mean = [mean_scores(values, FEW, s, [names, shuffled])["x"] for s in range(20)]
    ends = np.mean([score[1:] for score in mean], axis=0)
    assert ends == pytest.approx(plain[1:], abs=0.1 * width(plain))


def test_copies_of_clips_do_not_shrink_the_interval():
    values = np.random.default_rng(1).random(30)
    photos, recordings = np.arange(30) % 10, np.arange(30) // 3 % 5
    for groups in (photos, np.stack([photos, recordings])):
        one = mean_scores({"x": values}, FEW, groups=groups)["x"]
        copies = np.repeat(groups, 16, axis=-1)
        many = mean_scores({"x": np.repeat(values, 16)}, FEW, groups=copies)["x"]
        assert many == pytest.approx(one)
    plain = (mean_scores({"x": np.repeat(values, k)}, FEW)["x"] for k in (1, 16))
    narrow, narrower = map(width, plain)
    assert narrower == pytest.approx(narrow / 4, rel=0.15)


def test_intervals_cover_what_photographs_and_recordings_have_in_common():
    rng, groups = np.random.default_rng(0), crossed_labels(15, 12)
    found = {"by group": 0, "by clip": 0}
    for seed in range(100):
        photo, recording = rng.normal(size=(15, 1)), rng.normal(size=(1, 12))
        values = (photo + recording + 0.5 * rng.normal(size=(15, 12))).ravel()
        for name, given in (("by group", groups), ("by clip", None)):
            score = mean_scores({"x": values}, FEW, seed, given)["x"]
            found[name] += score.low <= 0 <= score.high
    assert found["by group"] >= 88 and found["by clip"] < 60


def test_where_groups_say_nothing_the_interval_is_wide_by_the_root_of_three():
    rng, groups = np.random.default_rng(0), crossed_labels(40, 40)
    values = {"x": rng.normal(size=1600)}
    ratio = width(mean_scores(values, 1000, 0, groups)["x"]) / width(
        mean_scores(values, 1000)["x"]
    )
    assert ratio == pytest.approx(3**0.5, rel=0.1)


def test_photographs_within_recordings_leave_only_recordings_to_draw():
    photos, recordings = np.arange(12) // 2, np.arange(12) // 4
    values = {"x": np.random.default_rng(0).random(12)}
    alone = mean_scores(values, FEW, groups=recordings)
    assert mean_scores(values, FEW, groups=[photos, recordings]) == alone
    assert mean_scores(values, FEW, groups=[recordings, photos]) == alone
    both = crossed([photos, np.arange(12) % 3], 12)  # neither lies within the other
    assert [factor.tolist() for factor in both] == [
        (np.arange(12) % 3).tolist(),
        photos.tolist(),
    ]


def test_a_resample_without_any_clip_counts_as_the_score():
    groups = [["a", "a", "b"], ["r", "s", "s"]]
    score = mean_scores({"x": [0.2, 0.4, 0.9]}, 2_000, groups=groups)["x"]
    assert 0.2 <= score.low <= score.value <= score.high <= 0.9


def test_large_groups_are_weighed_in_parts(monkeypatch):
    values = {"x": np.random.default_rng(0).random(200)}
    groups = np.arange(200) % 8
    one = mean_scores(values, FEW, groups=groups)
    monkeypatch.setattr(intervals, "AT_ONCE", 1_000)
    assert mean_scores(values, FEW, groups=groups) == one


def test_a_paired_difference_is_sharper_than_two_intervals():
    rng = np.random.default_rng(0)
    easy = rng.random(200)  # of each clip, alike for both
    one, two = {"x": easy + 0.02 + 0.02 * rng.random(200)}, {"x": easy}
    photos = np.arange(200) // 4
    found = paired_differences(one, two, FEW, 0, photos)["x"]
    assert found.value == pytest.approx(one["x"].mean() - two["x"].mean())
    assert 0 < found.low < found.value < found.high
    apart = [mean_scores(x, FEW, groups=photos)["x"] for x in (one, two)]
    assert apart[0].low < apart[1].high  # these overlap
    back = paired_differences(two, one, FEW, 0, photos)["x"]
    assert back == pytest.approx((-found.value, -found.high, -found.low))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_ciou_of_exactly_a_threshold_reaches_it_in_any_precision(dtype):
    found = of_ciou(np.array([k / 20 for k in range(21)], dtype))["AUC"]
    assert found == pytest.approx([(min(k + 0.5, 20)) / 20 for k in range(21)])


def test_hits_and_misses_are_subtracted_as_numbers():
    one, two = {"hit": np.array([True, False])}, {"hit": np.array([True, True])}
    assert paired_differences(one, two, FEW)["hit"].value == -0.5


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: mean_scores({"x": [1, 2]}, groups=["a"]), r"\(1, 1\); need 2 labels"),
        (lambda: mean_scores({"x": [1, 2]}, over=[1]), r"over has shape \(1,\)"),
        (lambda: mean_scores({"x": [1, 2]}, over=[0, 0]), "sum 0"),
        (lambda: paired_differences({"x": [1, 2]}, {"x": [1]}), r"clips: .*\(2,\)"),
        (lambda: paired_differences({"x": [1]}, {"y": [1]}), "names"),
    ],
)
def test_errors_name_what_is_wrong(call, said):
    with pytest.raises(ValueError, match=said):
        call()
