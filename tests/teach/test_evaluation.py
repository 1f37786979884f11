"""The bookkeeping of notebook 06 and appendix A2 against loops and closed forms."""

from dataclasses import replace

import av
import numpy as np
import pytest
import torch

from sslnb import localise
from sslnb.data import load_scenes, soundstamps
from sslnb.data.field.annotations import Annotation, read_annotations
from sslnb.localise.intervals import Score
from sslnb.localise.listening import Listening
from sslnb.localise.maps import open_maps, simulated_maps
from sslnb.localise.report import evaluate
from sslnb.teach import evaluation, protocols, published


@pytest.fixture(scope="module")
def clips():
    return load_scenes("test", 20, 32)


@pytest.fixture(scope="module")
def report(clips):
    known = evaluation.annotated(clips)
    return evaluate(simulated_maps(known), known, resamples=50)


@pytest.fixture(scope="module")
def crowded():
    scenes = soundstamps.compose_many("test", 0, 30, 32)
    return [scene for scene in scenes if len(scene.objects) > 1]


def test_a_gain_is_the_score_less_the_priors(report):
    gain, prior = evaluation.gain(report), report.baselines["centre prior"]
    assert gain.keys() == report.scores.keys()
    for name, score in report.scores.items():
        assert gain[name].value == pytest.approx(score.value - prior[name])
        assert gain[name].low <= gain[name].value <= gain[name].high


def test_a_gain_by_photograph_is_the_same_with_another_interval(report, clips):
    by_clip, by_photo = (
        evaluation.gain(report, groups=g) for g in (None, clips.photos)
    )
    assert all(by_photo[name].value == by_clip[name].value for name in by_clip)
    assert by_photo["pointing"] != by_clip["pointing"]


def test_a_gain_of_peaks_is_the_difference_of_their_rates(report, clips):
    model = np.arange(len(clips)) % 4 > 0  # 15 of 20
    prior = np.arange(len(clips)) % 2 > 0  # 10, all among them
    gain = evaluation.gain(report, peaks=(model, torch.from_numpy(prior)))
    assert gain["peak"].value == pytest.approx(0.25) and gain["peak"].low >= 0
    del gain["peak"]
    assert gain == evaluation.gain(report)


def test_a_gain_is_by_source_video_where_clips_share_one(clips):
    names = [f"{k % 7:011}_{k:06}" for k in range(len(clips))]
    known = dict(zip(names, evaluation.annotated(clips).values()))
    found = evaluate(simulated_maps(known), known, resamples=50)
    videos = [name[:11] for name in names]
    assert evaluation.gain(found) == evaluation.gain(found, groups=videos)
    assert evaluation.gain(found) != evaluation.gain(found, groups=names)


def test_what_clips_share_is_what_a_report_resamples(clips):
    shared, known = evaluation.shared(clips), evaluation.annotated(clips)
    assert [list(labels.values()) for labels in shared.values()] == clips.groups
    counts = len(set(clips.photos)), len(set(clips.recordings))
    found = evaluate(simulated_maps(known), known, resamples=50, groups=shared)
    assert found.trials == "{} photographs and {} recordings".format(*counts)
    assert evaluation.shared(replace(clips, photos=None, recordings=None)) == {}


def test_contributions_are_those_of_which_the_scores_are_means(report):
    for prefix, scores in (
        ("", {name: score.value for name, score in report.scores.items()}),
        ("centre_", report.baselines["centre prior"]),
    ):
        found = evaluation.contributions(report, prefix)
        assert {n: c.mean() for n, c in found.items()} == pytest.approx(scores)


def test_clips_come_back_from_the_files_that_they_were_written_to(clips, tmp_path):
    responses = torch.rand(len(clips), 4, 5)
    maps, boxes = evaluation.write_scored(tmp_path, clips, responses)
    with open_maps(maps) as found:
        for k, name in enumerate(clips.names):
            np.testing.assert_array_equal(found[name], responses[k])
    assert read_annotations(boxes) == evaluation.annotated(clips)


def test_numbers_have_the_digits_that_they_are_printed_with():
    assert published.pair((38.63, 39.65)) == "38.63 / 39.65"
    assert published.pair((34.4, None)) == "34.4 / –"
    assert published.pair((66.0, 39.50)) == "66.0 / 39.5"
    assert published.pair(None) == "–"
    assert evaluation.percent({"AUC": 0.3993, "cIoU": 0.3767}) == "37.7 / 39.9"
    assert evaluation.with_interval(Score(0.1, -0.02, 0.3), "+") == "+10.0 [-2, +30]"


def test_other_sounds_are_of_the_class_that_they_are_said_to_be(crowded):
    bank = load_scenes("test", 480, 16, 800, seed=1)
    waves = evaluation.other_sounds(crowded, bank)
    label = {tuple(w.tolist()): name for w, name in zip(bank.waves, bank.labels)}
    for k, scene in enumerate(crowded):
        found = {
            name: label.get(tuple(wave[k].tolist())) for name, wave in waves.items()
        }
        assert found["same class"] == scene.class_name
        assert found["first silent object's"] == scene.silent[0]
        assert found["not in the image"] not in (scene.class_name, *scene.silent)
        assert not waves["silence"][k].any()
    with pytest.raises(ValueError, match="give more of them"):
        evaluation.other_sounds(crowded, bank.part(slice(0, 1)))


def listening(gain):
    row = {"pointing": gain}
    sounds = ("another class", "silence")
    return Listening(
        dict.fromkeys(("fitting", *sounds), row), dict.fromkeys(sounds, row), {}, ""
    )


def test_it_listens_where_the_interval_lies_above_zero():
    found = {
        name: listening(Score(0.1, low, 0.3)) for name, low in (("a", 0.02), ("b", 0.0))
    }
    first, second = evaluation.heard_table(found).splitlines()[2:]
    assert first.endswith("| +10.0 [+2, +30] | it listens |")
    assert second.endswith("| +10.0 [+0, +30] | not measurably |")


def test_a_peak_is_on_the_object_where_the_map_is_highest(crowded):
    for scene in crowded[:4]:
        background = ~np.any(scene.objects, axis=0)
        masks = [*scene.objects, background]
        expected = [0, 1, 2][: len(scene.objects)] + [3]
        for mask, place in zip(masks, expected):
            row, column = np.argwhere(mask)[mask.sum() // 2]
            response = torch.zeros(224, 224)
            response[row, column] = 1
            assert evaluation.peak_places(response[None], [scene]).item() == place


def test_areas_are_chances_and_sum_to_one(crowded):
    areas = evaluation.areas(crowded)
    assert sum(areas) == pytest.approx(1)
    own = np.mean([scene.mask.mean() for scene in crowded])
    assert areas[0] == pytest.approx(own)


def test_higher_counts_pairs():
    a = torch.tensor([1.0, 3.0])[:, None, None]
    b = torch.tensor([0.0, 1.0, 5.0])[:, None, None]
    pairs = [(x > y) + 0.5 * (x == y) for x in (1, 3) for y in (0, 1, 5)]
    assert evaluation.higher(a, b) == pytest.approx(np.mean(pairs))


def test_cropped_boxes_lie_where_the_crop_puts_their_pixels():
    (box,) = protocols.cropped_boxes([(0.3, 0.2, 0.9, 0.8)], 200, 100)
    # the middle square is x from 50 to 150 of 200 pixels
    assert box == pytest.approx([(60 - 50) / 100, 0.2, 1.0, 0.8])
    (same,) = protocols.cropped_boxes([(0.1, 0, 1, 1)], 5, 5)
    assert same == pytest.approx([0.1, 0, 1, 1])


def test_three_annotators_differ_and_stay_in_the_image():
    boxes = protocols.three_annotators((0.0, 0.5, 0.4, 1.0))
    assert len(set(boxes)) == 3
    assert all(0 <= edge <= 1 for box in boxes for edge in box)
    known = {
        "a": Annotation(((0.1, 0.1, 0.5, 0.5),)),
        "b": Annotation(tuple(boxes), None, 3),
    }
    voted = protocols.voted(known)
    assert voted["a"].annotators == 3 and voted["b"] is known["b"]


def test_an_error_stands_in_place_of_scores(report):
    text = protocols.rule_table({"lvs": report, "slavc": ValueError("no cosines")})
    lines = text.splitlines()
    assert lines[2].startswith("| `lvs` |") and "| +0.00 |" in lines[2]
    assert lines[3].startswith("| `slavc` | no cosines | – |")
    assert len({line.count("|") for line in lines}) == 1


def test_tables_have_as_many_columns_as_names(report, clips, crowded):
    reports = {"test": report}
    maps = {"its own": torch.rand(len(crowded), 5, 5)}
    truth = torch.stack([localise.boxes_to_truth(s.boxes) for s in crowded])
    guesses = {"oracle": localise.oracle(truth)}
    peak = Score(0.5, 0.4, 0.6)
    scores = {"test": report.scores | {"peak": peak, "centre peak": peak}}
    heard = listening(peak)
    for text in (
        evaluation.score_table(reports, scores, {"test": clips}),
        evaluation.heard_table({"test": heard}),
        evaluation.gain_table({"test": evaluation.gain(report)}, ("cIoU", "AUC")),
        evaluation.paper_table(reports, "ours", "scenes", {("a", "b.json"): report}),
        evaluation.listening_table(maps, crowded, truth, guesses),
        evaluation.guess_table({"oracle": guesses["oracle"], "x": truth.mean((1, 2))}),
        published.published_table(),
        published.leak_table(),
    ):
        assert len({line.count("|") for line in text.splitlines()}) == 1, text


def test_published_points_say_what_is_known_of_leaks():
    kinds = {name: kind for name, _, kind in published.published_points()}
    assert kinds["the paper, F"] is False
    assert kinds["FNAC †"] is True
    assert kinds["LVS"] is None


def test_a_film_stands_still_and_has_four_seconds_of_each_sound(tmp_path):
    image = np.full((64, 64, 3), 90, np.uint8)
    waves = [np.full(1000, 3000, np.int16), np.zeros(48_000, np.int16)]
    evaluation.film(tmp_path / "a.mp4", image, waves)
    with av.open(str(tmp_path / "a.mp4")) as file:
        frames = [f.to_ndarray(format="rgb24") for f in file.decode(video=0)]
    assert len(frames) == 2 * 4 * 5
    assert np.abs(frames[0].astype(int) - 90).max() < 6
    with av.open(str(tmp_path / "a.mp4")) as file:
        sound = np.concatenate([f.to_ndarray()[0] for f in file.decode(audio=0)])
    assert len(sound) / 16_000 == pytest.approx(8, abs=0.2)
    assert np.abs(sound[80_000:]).max() < 0.01 < np.abs(sound[:50_000]).max()
