"""Exercises of notebook 08: both of two sounds found, and one threshold for all maps."""

import torch

from sslnb.teach.exercises.exercise import Exercise, uniform


def _both(first, second):
    return ((first >= 0.5) & (second >= 0.5)).double().mean()


def _higher(own, other, tie=0.5):
    gap = own[:, None] - other
    return ((gap > 0).double() + tie * (gap == 0)).mean()


def _duets():
    first, second = uniform(41), uniform(41, seed=1)
    first[:3], second[:3] = 0.5, 0.9  # on the threshold: a success
    return [(first, second), (second**0.5, first**0.5)]


def _maxima():
    own = (20 * uniform(30)).round() / 20 + 0.1  # with ties
    return [(own, (20 * uniform(30, seed=1)).round() / 20)]


EXERCISES = {
    "iiou": Exercise(
        _both,
        _duets,
        {
            "that is the mean of two success rates; an image counts where both are found": lambda a, b: (
                ((a >= 0.5).double() + (b >= 0.5).double()).mean() / 2
            ),
            "that is where either is found; take the minimum of the two, not the maximum": lambda a, b: (
                (torch.maximum(a, b) >= 0.5).double().mean()
            ),
            "that is a mean cIoU; each is a success, or none, at 0.5": lambda a, b: (
                torch.minimum(a, b).double().mean()
            ),
            "the mean of two cIoU can be above 0.5 where one of them is 0.1": lambda a, b: (
                ((a + b) / 2 >= 0.5).double().mean()
            ),
            "cIoU of exactly 0.5 is a success": lambda a, b: (
                ((a > 0.5) & (b > 0.5)).double().mean()
            ),
        },
    ),
    "separability": Exercise(
        _higher,
        _maxima,
        {
            "that compares each image with itself alone; one threshold is for all, so "
            "compare each own map with every other one": lambda a, b: (
                (a > b).double() + 0.5 * (a == b)
            ).mean(),
            "a tie is half a success": lambda a, b: _higher(a, b, 0.0),
            "a tie is half a success, not a whole one": lambda a, b: _higher(a, b, 1.0),
            "that is how often the other sound's map is higher": lambda a, b: (
                1 - _higher(a, b)
            ),
            "that is a difference of means, whose unit is the cosine's": lambda a, b: (
                a.mean() - b.mean()
            ),
        },
    ),
}
