"""What the exercises say about every kind of answer, of new exercises too."""

import numpy as np
import pytest
import torch

from sslnb.localise import summarise
from sslnb.localise.negatives import detection
from sslnb.teach.exercises import EXERCISES, check, verdict

MISTAKES = [
    (name, message) for name, ex in EXERCISES.items() for message in ex.mistakes
]


def shifted(value, by=1.0):
    """The same answer with every number wrong."""
    if isinstance(value, dict):
        return {key: shifted(part, by) for key, part in value.items()}
    return torch.as_tensor(value).double() + by


@pytest.mark.parametrize("name", EXERCISES)
def test_the_right_function_is_right(name):
    assert verdict(name, EXERCISES[name].truth) == (True, "right")


@pytest.mark.parametrize("name, message", MISTAKES)
def test_every_mistake_gets_its_own_message(name, message):
    """On the exercise's own inputs; so no two mistakes there look alike."""
    assert verdict(name, EXERCISES[name].mistakes[message]) == (False, message)


@pytest.mark.parametrize("name", EXERCISES)
def test_mistakes_have_messages_and_inputs_repeat(name):
    exercise = EXERCISES[name]
    assert 2 <= len(exercise.mistakes) <= 6
    assert all(len(message) > 15 for message in exercise.mistakes)
    first, again = exercise.inputs(), exercise.inputs()
    assert len(first) == len(again) >= 1
    for arguments, others in zip(first, again):
        assert isinstance(arguments, tuple)
        for a, b in zip(arguments, others, strict=True):
            assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def stops(*arguments):
    raise NotImplementedError


@pytest.mark.parametrize("name", EXERCISES)
@pytest.mark.parametrize("stub", [lambda *_: ..., lambda *_: None, stops])
def test_a_stub_is_not_filled_in_yet(name, stub):
    assert verdict(name, stub) == (False, "not filled in yet")


@pytest.mark.parametrize("name", EXERCISES)
def test_an_exception_is_reported(name):
    def divides(*arguments):
        return 1 / 0

    right, sentence = verdict(name, divides)
    assert not right
    assert sentence == "it raises ZeroDivisionError: division by zero"


@pytest.mark.parametrize("name", EXERCISES)
def test_a_wrong_number_of_arguments_is_reported(name):
    right, sentence = verdict(name, lambda: 1.0)
    assert not right and sentence.startswith("it raises TypeError")


@pytest.mark.parametrize("name", EXERCISES)
def test_values_that_differ_a_little_or_a_lot_are_wrong(name):
    for by in (1e-2, 1.0, 1e6, float("nan"), float("inf")):
        right, sentence = verdict(
            name, lambda *a, by=by: shifted(EXERCISES[name].truth(*a), by)
        )
        assert not right and sentence


@pytest.mark.parametrize("name", EXERCISES)
def test_rounding_errors_are_accepted(name):
    answer = verdict(name, lambda *a: shifted(EXERCISES[name].truth(*a), 1e-6))
    assert answer == (True, "right")


ODD = {
    "a string": "right",
    "a list of lists that differ": [[1.0], [1.0, 2.0]],
    "a dict": {"a": 1.0},
    "a function": len,
    "an object": object(),
    "a scalar": 0.5,
    "no numbers": torch.zeros(0),
    "another shape": torch.zeros(7, 5, 3),
    "an array of words": np.array(["a", "b"]),
    "a set": {1.0},
    "a type": int,
    "with gradient": torch.zeros(7, requires_grad=True) * 2,
}


@pytest.mark.parametrize("name", EXERCISES)
@pytest.mark.parametrize("kind", ODD)
def test_for_any_other_answer_the_message_says_what_is_needed(name, kind):
    right, sentence = verdict(name, lambda *_: ODD[kind])
    assert not right and "need" in sentence


@pytest.mark.parametrize("name", EXERCISES)
def test_a_right_answer_may_carry_a_gradient_or_be_wrong_with_one(name):
    def grow(value, by):
        if isinstance(value, dict):
            return {key: grow(part, by) for key, part in value.items()}
        return shifted(value, by).requires_grad_()

    truth = EXERCISES[name].truth
    assert verdict(name, lambda *a: grow(truth(*a), 0)) == (True, "right")
    assert not verdict(name, lambda *a: grow(truth(*a), 1))[0]


@pytest.mark.parametrize("name", EXERCISES)
def test_an_answer_that_writes_into_its_arguments_is_judged_by_what_it_returns(name):
    def writes(*arguments, by):
        answer = shifted(EXERCISES[name].truth(*arguments), by)
        for argument in arguments:
            if isinstance(argument, torch.Tensor):
                argument.zero_()
        return answer

    assert verdict(name, lambda *a: writes(*a, by=0)) == (True, "right")
    assert not verdict(name, lambda *a: writes(*a, by=1))[0]


def test_a_right_answer_may_be_an_array_a_list_or_a_double():
    truth = EXERCISES["weighted_mean"].truth
    for kind in (torch.Tensor.numpy, torch.Tensor.tolist, torch.Tensor.double):
        assert verdict("weighted_mean", lambda s, z, kind=kind: kind(truth(s, z)))[0]


def test_a_wrong_value_is_reported_with_its_index_and_the_right_value():
    truth = EXERCISES["weighted_mean"].truth

    def one_off(s, z):
        answer = truth(s, z)
        answer[1] += 0.25
        return answer

    right = truth(*EXERCISES["weighted_mean"].inputs()[0])
    assert verdict("weighted_mean", one_off) == (
        False,
        f"50% of its values differ; {right[1] + 0.25:.4g} at [1], need {right[1]:.4g}",
    )


def test_values_that_are_no_numbers_are_counted_as_wrong():
    truth = EXERCISES["weighted_mean"].truth
    right, sentence = verdict("weighted_mean", lambda s, z: truth(s, z) * torch.nan)
    assert not right and sentence.startswith("100% of its values differ; nan")


def test_a_wrong_shape_is_reported():
    answer = verdict("weighted_mean", lambda s, z: s)
    assert answer == (False, "its shape is (2, 3, 4); need (2,)")


def test_check_prints_one_line(capsys):
    assert check("weighted_mean", EXERCISES["weighted_mean"].truth) is None
    assert capsys.readouterr().out == "✓ weighted_mean: right\n"
    check("weighted_mean", lambda s, z: ...)
    assert capsys.readouterr().out == "✗ weighted_mean: not filled in yet\n"


def test_an_unknown_exercise_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown exercise 'mean'.*weighted_mean"):
        check("mean", lambda: None)


# --- truths that have another one beside them -----------------------------------


def test_the_fields_area_is_the_one_that_is_reported():
    c, steps = EXERCISES["auc"].inputs()[0]
    found = EXERCISES["auc"].truth(c, steps)
    assert found["field"].item() == pytest.approx(summarise(c)["AUC"])
    fine = EXERCISES["auc"].truth(c, 20_000)  # more and more thresholds
    assert fine["field"].item() == pytest.approx(found["exact"].item(), abs=1e-4)


def test_max_f1_is_that_of_the_metrics_of_false_positives():
    for arguments in EXERCISES["max_f1"].inputs():
        found = detection(*(x.numpy() for x in arguments), resamples=10)
        right = EXERCISES["max_f1"].truth(*arguments)
        assert right.item() == pytest.approx(found["max-F1"].value)


def test_a_p_value_is_small_where_the_maps_listen_and_any_where_they_do_not():
    truth = EXERCISES["p_value"].truth
    listens, deaf = EXERCISES["p_value"].inputs()
    assert truth(*listens) < 0.05 < truth(*deaf)
    generator, values = torch.Generator().manual_seed(0), []
    for _ in range(300):
        hit = torch.rand(12, 12, generator=generator).double()
        shuffles = torch.rand(19, 12, generator=generator).argsort(1)
        values.append(truth(hit, shuffles).item())
    assert np.mean(np.array(values) <= 0.25) == pytest.approx(0.25, abs=0.07)


def test_average_precision_is_the_mean_over_orders_of_no_ties_and_one_at_best():
    truth = EXERCISES["average_precision"].truth
    labels = torch.tensor([0, 0, 0, 1, 1])
    same = (labels == labels[:, None]).double()
    assert truth(same, labels) == 1  # right ones tied first
    assert truth(torch.ones(5, 5), labels).item() == pytest.approx(
        (3 * 2 / 4 + 2 * 1 / 4) / 5  # all tied: precision is R / G at every one
    )
    s = torch.tensor([[9.0, 3, 1, 2], [4, 9, 1, 3], [1, 2, 9, 3], [1, 2, 3, 9]])
    found = truth(s, torch.tensor([0, 0, 1, 1])).item()
    assert found == pytest.approx((1 + 1 + 1 + 1) / 4)


def test_csls_lowers_a_hub():
    (s, k), _ = EXERCISES["csls"].inputs()
    s[:, 0] += 0.7  # near to every query
    before = (s.argmax(1) == 0).sum()
    assert (EXERCISES["csls"].truth(s, k).argmax(1) == 0).sum() < before
