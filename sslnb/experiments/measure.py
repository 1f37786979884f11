"""What a model of the grid is measured by, clip by clip (notebook 08).

>>> columns = measure(model, "test")            # {"ciou": (300,), "e_app": (300,), …}

Every model is measured on the same clips, so that models are compared clip by clip.
data/experiments/clips.json lists them, with the photograph and the recording of each.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from itertools import count

import numpy as np
import torch
from torch import Tensor

from sslnb import consistency, localise
from sslnb.data import soundstamps
from sslnb.data.clips import Clips, load_scenes
from sslnb.data.media import normalise, spectrogram
from sslnb.experiments.packed import SMALL
from sslnb.localise.intervals import of_ciou
from sslnb.localise.listening import other_class
from sslnb.localise.metrics import ciou, peak_hit, truth_of
from sslnb.model import SoundLocaliser, evaluating
from sslnb.retrieve import hits, pool_image
from sslnb.training.clips import heard_in

REGIME = "clips"
SETS = ("test", "unseen", "wild", "halves", "duets")
GUESSES = ("centre prior", "oracle")  # without a model
COUNT = 300  # clips of a set, but for wild: all of it
HALVES, DUETS = 400, 150
MAPS = 24  # the first clips of a set, whose maps are kept
DRAWS = 2  # of T_app
TOP = 10  # ranks of retrieval
ERRORS = ("e_app", "e_geo")  # of maps, over their variance: smaller is better
RETRIEVAL = ("audio", "image", "mean")  # columns of it: whether each rank is right
LARGE = 0.02  # the fraction of the image that an object of a duet covers at least

# --- the clips ------------------------------------------------------------------------


@cache
def clips_of(name: str) -> Clips:
    """The clips of one of SETS, as the laptop preset takes them.

    test, unseen: of the classes that the regime trains on; halves: of `test`, all
    classes; duets: of `test`, scenes of two sounding objects, of which the first sounds.
    """
    if name == "wild":
        return load_scenes("wild")
    if name == "halves":
        return load_scenes("test", HALVES)
    if name == "duets":
        return _duets()[0]
    return load_scenes(name, COUNT, only=heard_in(REGIME))


def classes_of(half: str) -> frozenset[str]:
    """Half of the classes of `train`: "0a" and "0b" are the halves of draw 0.

    ValueError for another form.
    """
    if len(half) < 2 or not half[:-1].isdigit() or half[-1] not in "ab":
        raise ValueError(f"half is {half!r}; need a number and a or b, as in 0a")
    names = soundstamps.classes("train")
    generator = torch.Generator().manual_seed(int(half[:-1]))
    drawn = [names[k] for k in torch.randperm(len(names), generator=generator)]
    middle = len(drawn) // 2
    return frozenset(drawn[:middle] if half[-1] == "a" else drawn[middle:])


@cache
def _duets() -> tuple[Clips, Clips]:
    """Images of two objects of known classes, with the sound of each: two times N clips.

    The second object's sound is that of another scene, of its class.
    """
    heard, bank = frozenset(heard_in(REGIME) or ()), clips_of("test")
    chosen = []
    for index in count():
        scene = soundstamps.compose("test", 1, index, 96)  # of another seed than test's
        two = (scene.class_name, *scene.silent[:1])
        if len(two) == 2 and heard.issuperset(two) and two[1] in bank.labels:
            if min(mask.mean() for mask in scene.objects[:2]) >= LARGE:
                chosen.append((index, scene))
        if len(chosen) == DUETS:
            break
    scenes = [scene for _, scene in chosen]
    fits = {
        label: [k for k, own in enumerate(bank.labels) if own == label]
        for label in {scene.silent[0] for scene in scenes}
    }
    rows = [
        fits[scene.silent[0]][k % len(fits[scene.silent[0]])]
        for k, scene in enumerate(scenes)
    ]
    images = np.stack([scene.image for scene in scenes]).transpose(0, 3, 1, 2)
    pixels = torch.from_numpy(np.ascontiguousarray(images))
    photos = [scene.photo for scene in scenes]
    first = Clips(
        names=[f"test/1/{index}" for index, _ in chosen],
        labels=[scene.class_name for scene in scenes],
        waves=torch.from_numpy(np.stack([scene.wave for scene in scenes])),
        boxes=[scene.boxes for scene in scenes],
        masks=torch.from_numpy(np.stack([scene.objects[0] for scene in scenes])),
        recordings=[soundstamps.recording_of(scene.sound) for scene in scenes],
        images=pixels,
        photos=photos,
    )
    second = Clips(
        names=first.names,
        labels=[scene.silent[0] for scene in scenes],
        waves=bank.waves[rows],
        boxes=[(soundstamps.box_of(scene.objects[1]),) for scene in scenes],
        masks=torch.from_numpy(np.stack([scene.objects[1] for scene in scenes])),
        recordings=[(bank.recordings or [])[row] for row in rows],
        images=pixels,
        photos=photos,
    )
    return first, second


def off_screen(clips: Clips, seed: int = 0) -> Tensor:
    """Waves (N, T) of clips, each of a class that its image does not show."""
    shown = []
    for name, label in zip(clips.names, clips.labels):
        split, number, index = name.split("/")
        scene = soundstamps.compose(split, int(number), int(index), 16)
        shown.append({label, *scene.silent})
    drawn = other_class(clips.labels, 20, seed).T.tolist()  # (N, 20)
    rows = [
        next(k for k in several if clips.labels[k] not in seen)
        for several, seen in zip(drawn, shown)
    ]
    return clips.waves[rows]


# --- the measures ---------------------------------------------------------------------


def measure(
    model: SoundLocaliser, name: str, sounds_only: bool = False
) -> dict[str, np.ndarray]:
    """Columns of a model on one of SETS, a value a clip: column -> (N,), or (N, …).

    ciou; pointing and peak: whether the map's maximum is in the boxes, and on the object;
    e_app, e_geo and variance: squared changes of the map under T_app and T_geo, and the
    map's variance, over whose mean theirs are the errors; activation, own and with three
    negatives: the map's maximum; marked: the fraction of it above one threshold for all;
    audio, image, and mean: whether the TOP items that a sound finds are right: sounds of
    other recordings, other images pooled by maximum, and by mean; of the Q queries that
    have a right one, (Q, TOP). sounds_only: only what an audio encoder gives.
    """
    if sounds_only and name != "unseen":
        return {}
    if name == "duets":
        return _duet(model)
    clips = clips_of(name)
    if sounds_only:
        return _retrieval(model, clips, ("audio",))
    maps = localise.respond_to(model, clips)
    found = _localisation(maps, clips)
    if name in ("test", "unseen"):
        found |= _consistency(model, clips)
        found["maps"] = (maps[:MAPS].clamp(0, 1) * 255).round().byte().numpy()
    if name == "test":
        found |= _negatives(model, clips, maps)
    if name == "unseen":
        found |= _retrieval(model, clips)
    return found


def guess(name: str, what: str) -> dict[str, np.ndarray]:
    """Columns of the "centre prior" or of the "oracle" on one of SETS, as of `measure`."""
    pairs = (
        zip((" first", " second"), _duets())
        if name == "duets"
        else [("", clips_of(name))]
    )
    found: dict[str, np.ndarray] = {}
    for suffix, clips in pairs:
        if what == "oracle":
            each = {"ciou": _steps(localise.oracle(truth_of(clips)))}
        else:
            each = _localisation(localise.centre_prior(len(clips)), clips)
        found |= {f"{key}{suffix}": column for key, column in each.items()}
    return found


def _localisation(maps: Tensor, clips: Clips) -> dict[str, np.ndarray]:
    truth = truth_of(clips)
    found = {
        "ciou": _steps(ciou(maps, truth)),
        "pointing": peak_hit(maps, truth).numpy(),
    }
    if clips.masks is not None:
        found["peak"] = peak_hit(maps, clips.masks).numpy()
    return found


def _steps(values: Tensor) -> np.ndarray:
    """cIoU, rounded down to steps of 1/200: what is 0.05 · k or above it stays so.

    Single precision may have 0.35 below 0.35, by a ten-millionth at most; counts of pixels
    give nothing else so near.
    """
    return np.floor(values.double().numpy() * SMALL + 2e-5) / SMALL


def _consistency(model, clips):
    theta = {"T_geo": consistency.drawn_geometric(len(clips))}
    look = consistency.invariance(model, clips, draws=DRAWS)
    move = consistency.equivariance(model, clips, theta)["T_geo"]
    return {
        "e_app": look.squares.numpy(),
        "e_geo": move.squares.numpy(),
        "variance": move.variance.numpy(),
    }


def _negatives(model, clips, own):
    """Maxima, and marked fractions, of maps with the own sound and three others.

    The threshold is the median of the own maps' medians, as of `localise.evaluate`.
    """
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(clips.waves.shape, generator=generator) * 3000
    played = {
        "off-screen": off_screen(clips),
        "noise": noise.clamp(-32768, 32767).short(),
        "silence": torch.zeros_like(clips.waves),
    }
    maps = {"own": own} | {
        name: localise.respond_to(model, replace(clips, waves=waves))
        for name, waves in played.items()
    }
    threshold = own.flatten(1).median(1).values.median()
    found = {}
    for name, each in maps.items():
        found[f"activation {name}"] = each.flatten(1).amax(1).numpy()
        found[f"marked {name}"] = (each > threshold).double().mean((1, 2)).numpy()
    return found


def _duet(model):
    found = {}
    for name, clips in zip(("first", "second"), _duets()):
        maps = localise.respond_to(model, clips)
        found |= {f"{k} {name}": v for k, v in _localisation(maps, clips).items()}
    return found


def _retrieval(model, clips, what=RETRIEVAL):
    labels, originals = np.array(clips.labels), np.array(clips.originals)
    same = torch.from_numpy(originals[:, None] == originals)  # an echo is no find
    itself = torch.eye(len(clips), dtype=torch.bool)
    alike = torch.from_numpy(labels[:, None] == labels)
    with evaluating(model):
        sounds = model.embed_audio(spectrogram(clips.waves, model.config.audio))
        similar = {"audio": (sounds @ sounds.T, same)}
        if "image" in what:
            cells = model.embed_image(normalise(model.fit(clips.images)))
            for name, how in (("image", "max"), ("mean", "mean")):
                similar[name] = (sounds @ pool_image(cells, how).T, itself)
    found = {}
    for name, (similarity, left) in similar.items():
        right = hits(similarity, labels, labels, left)  # (N, N)
        found[name] = right[(alike & ~left).any(1), :TOP].numpy()
    return found


def per_query(right: np.ndarray) -> dict[str, np.ndarray]:
    """What each query adds to the scores of tables 5 and 6, of its ranks (Q, TOP): (Q,)."""
    return {
        "A@5": right[:, :5].any(1),
        "A@10": right[:, :10].any(1),
        "P@1": right[:, 0],
        "P@5": right[:, :5].mean(1),
    }


def contributions(
    columns: Mapping[str, np.ndarray],
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What each clip adds to the scores of a model, of the columns of `measure`.

    score -> (values, over), (N,) each: the score is Σ values / Σ over. Of a duet the names
    end in "first" or "second"; "audio P@1" and the like are of retrieval.
    """
    found: dict[str, np.ndarray] = {}
    for name, values in columns.items():
        if name.startswith("ciou"):
            whose = name.removeprefix("ciou")
            found |= {key + whose: each for key, each in of_ciou(values).items()}
        elif name in RETRIEVAL:
            found |= {f"{name} {key}": each for key, each in per_query(values).items()}
        elif name not in ("maps", "variance"):
            found[name] = values
    ones = {name: np.ones(len(values)) for name, values in found.items()}
    over = ones | {name: columns["variance"] for name in ERRORS if name in found}
    return {name: (values.astype(float), over[name]) for name, values in found.items()}
