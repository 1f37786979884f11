"""Results of a grid that never ran, for tests: random scores, clip by clip."""

import numpy as np

from sslnb.experiments.packed import pack
from sslnb.experiments.results import Results
from sslnb.experiments.run import scores

VALIDATED = 2  # every second epoch


def columns_of(rng, clips):
    """What each clip says of a model, as `experiments.measure.measure` gives it."""
    return {
        "ciou": rng.integers(0, 200, clips) / 200,
        "pointing": rng.random(clips) < 0.6,
        "peak": rng.random(clips) < 0.4,
        "e_app": rng.random(clips).astype(np.float16).astype(float),
        "e_geo": rng.random(clips).astype(np.float16).astype(float),
        "variance": (0.5 + rng.random(clips)).astype(np.float16).astype(float),
        "maps": rng.integers(0, 256, (2, 12, 12)).astype(np.uint8),
    }


def run_of(name, seed, columns, epochs=6, geo_weight=2.0):
    """A run's JSON, of its columns {set: {column: (N,)}}."""
    rng = np.random.default_rng(seed)
    steps = range(1, epochs + 1)
    auc = [float(rng.random()) if e % VALIDATED == 0 else None for e in steps]
    history = {"epoch": [float(e) for e in steps], "val_AUC": auc}
    history["contrastive"] = [float(rng.random()) for _ in steps]
    return {
        "variant": name,
        "seed": seed,
        "config": {"geo_weight": geo_weight},
        "history": history,
        "metrics": {where: scores(each) for where, each in columns.items()},
        "per_clip": {
            where: {key: pack(values) for key, values in each.items()}
            for where, each in columns.items()
        },
    }


def results_of(variants="ABCDEF", seeds=3, clips=60, sets=("test", "unseen"), seed=0):
    """Results of variants from seeds 0 and up: every score is random, one a clip."""
    rng = np.random.default_rng(seed)
    of_sets = {}
    for where in sets:
        prior, oracle = columns_of(rng, clips), columns_of(rng, clips)
        guesses = {
            "centre prior": {key: prior[key] for key in ("ciou", "pointing", "peak")},
            "oracle": {"ciou": oracle["ciou"]},
        }
        of_sets[where] = {
            "labels": [f"class {k % 5}" for k in range(clips)],
            "photos": [f"photo {k % 10}" for k in range(clips)],
            "recordings": [f"recording {k % 12}" for k in range(clips)],
            "guesses": {
                name: {key: pack(values) for key, values in each.items()}
                for name, each in guesses.items()
            },
        }
    runs = {
        name: {
            k: run_of(name, k, {where: columns_of(rng, clips) for where in sets})
            for k in range(seeds)
        }
        for name in variants
    }
    return Results(runs, of_sets)
