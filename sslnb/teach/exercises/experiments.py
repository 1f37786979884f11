"""Exercises of notebook 08: two sounds, one threshold, an interval, seeds to be planned."""

import math

import torch
from scipy.special import nctdtr, ndtri, stdtrit

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


def _drawn_values(difference, photos, seeds, counts, weighted=True):
    """The mean difference in each draw of seeds (D, S) and of photographs (D, G)."""
    weights = counts[:, photos].double()
    each = weights * difference[seeds].mean(1)  # (D, N)
    return each.sum(1) / (weights.sum(1) if weighted else len(photos))


def _ends(middle, values, tail=0.025):
    low, high = values.quantile(torch.tensor([tail, 1 - tail]).double())
    return torch.stack([middle, low, high])


def _interval(ours, theirs, photos, seeds, counts):
    difference = ours - theirs
    return _ends(difference.mean(), _drawn_values(difference, photos, seeds, counts))


def _apart(ours, theirs, *draws):
    """As if the two intervals were subtracted from each other, end from end."""
    a, b = (_drawn_values(each, *draws) for each in (ours, theirs))
    middle, low, high = _ends((ours - theirs).mean(), a)
    _, low_b, high_b = _ends(middle, b)
    return torch.stack([middle, low - high_b, high - low_b])


def _results():
    """Two models from four seeds on thirty clips of nine photographs, and 400 draws."""
    generator = torch.Generator().manual_seed(0)
    photos = torch.randint(9, (30,), generator=generator)
    seeds = torch.randint(4, (400, 4), generator=generator)
    drawn = torch.randint(9, (400, 9), generator=generator)
    counts = torch.nn.functional.one_hot(drawn, 9).sum(1)
    hard = uniform(9, seed=1).double()[photos] + 0.3 * uniform(4, 1, seed=2).double()
    ours = hard + 0.3 * uniform(4, 30, seed=3).double()
    theirs = hard + 0.3 * uniform(4, 30, seed=4).double() - 0.1
    return [(ours, theirs, photos, seeds, counts)]


def _power(seeds, size, spread, tails=2):
    """How often a paired t-test at 5 % from so many seeds finds a change of this size."""
    limit = stdtrit(seeds - 1, 1 - 0.05 / tails)
    shift = abs(float(size)) / spread * math.sqrt(seeds)
    wrong_side = nctdtr(seeds - 1, shift, -limit) if tails == 2 else 0.0
    return 1 - nctdtr(seeds - 1, shift, limit) + wrong_side


def _seeds(spread, size, power, tails=2):
    return next(
        s for s in range(2, 10_000) if _power(s, size, float(spread), tails) >= power
    )


def _seeds_normal(pilot, size, power):
    z = ndtri(0.975) + ndtri(power)
    return max(2, math.ceil((z * float(pilot.std()) / size) ** 2))


def _pilots():
    pilot = torch.tensor([0.4, 2.1, -0.9, 1.6, 0.3]).double()
    return [(pilot, 0.5, 0.8), (3 * pilot, 2.0, 0.9)]


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
    "interval": Exercise(
        _interval,
        _results,
        {
            "each draw has its own seeds: average over those that were drawn": (
                lambda o, h, p, s, c: _ends(
                    (o - h).mean(),
                    _drawn_values((o - h).mean(0, keepdim=True), p, 0 * s, c),
                )
            ),
            "photographs have different numbers of clips: divide by the sum of the "
            "weights, which differs from draw to draw": lambda o, h, p, s, c: _ends(
                (o - h).mean(), _drawn_values(o - h, p, s, c, weighted=False)
            ),
            "95 % leave 2.5 % on each side": lambda o, h, *b: _ends(
                (o - h).mean(), _drawn_values(o - h, *b), 0.05
            ),
            "the first value is of the clips as they are, not the mean of the draws": (
                lambda o, h, *b: _ends(
                    _drawn_values(o - h, *b).mean(), _drawn_values(o - h, *b)
                )
            ),
            "what is hard about a clip is hard for both: take the difference first": _apart,
            "that is theirs less ours": lambda o, h, *b: _interval(h, o, *b),
        },
    ),
    "seeds_needed": Exercise(
        lambda pilot, size, power: _seeds(pilot.std(), size, power),
        _pilots,
        {
            "a few seeds do not tell their own spread: take Student's t and its "
            "noncentral form, not the normal distribution": _seeds_normal,
            "the test is two-sided: a change for the worse counts, too": (
                lambda pilot, size, power: _seeds(pilot.std(), size, power, tails=1)
            ),
            "the size is what you would not want to miss, not what the pilot found": (
                lambda pilot, size, power: _seeds(pilot.std(), pilot.mean(), power)
            ),
            "that is the error of the pilot's mean; take the spread of its differences": (
                lambda pilot, *b: _seeds(pilot.std() / len(pilot) ** 0.5, *b)
            ),
            "these are differences of pairs already: their variance counts once": (
                lambda pilot, *b: _seeds(2**0.5 * pilot.std(), *b)
            ),
        },
    ),
}
