"""The README's figures, drawn of results and of the model that ships.

>>> results = read_results()
>>> table_1(results)                    # data/table_1.svg
>>> weights(results)                    # data/equivariance.svg
>>> two_sounds(clearest_swap(model))    # notebooks/images/two_sounds.webp

`sslnb figures` draws them all. The SVGs are the same whenever they are drawn.
"""

from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from sslnb import localise
from sslnb.data.clips import load_scenes
from sslnb.data.media import normalise, spectrogram
from sslnb.data.soundstamps import Scene, compose_many
from sslnb.experiments.results import Results
from sslnb.files import DATA, ROOT
from sslnb.model import SoundLocaliser, evaluating
from sslnb.teach import ablation, evaluation, plot
from sslnb.teach.equivariance import USUAL, trial
from sslnb.teach.experiments import guesses
from sslnb.training.recipe import TABLE_1

TABLE_1_SVG, WEIGHTS_SVG = DATA / "table_1.svg", DATA / "equivariance.svg"
TWO_SOUNDS = ROOT / "notebooks" / "images" / "two_sounds.webp"
WIDE = 612  # pixels of an image in it
MEASURES = {  # column -> title
    "AUC": "localisation: AUC in %",
    "e_app": "invariance: error $e_{app}$",
    "e_geo": "equivariance: error $e_{geo}$",
}


def table_1(results: Results, path: Path = TABLE_1_SVG):
    """AUC, e_app and e_geo of the models A to F: a dot a run, a line through the means."""
    found = ablation.runs(results)
    prior = _centre_prior(results)
    names = [f"{model}\n{added}" for model, added in zip(TABLE_1, ablation.ADDED)]
    found["model"] = found["model"].map(dict(zip(TABLE_1, names)))
    save(plot.over_setting(found, "model", "split", MEASURES, "model", prior), path)


def weights(results: Results, path: Path = WEIGHTS_SVG):
    """AUC, e_app and e_geo over λ_geo, of the usual model."""
    tried = trial(results)
    usual = tried[tried["variant"] == USUAL].assign(AUC=100 * tried["AUC"])
    prior = _centre_prior(results)
    save(
        plot.over_setting(usual, "weight", "split", MEASURES, "$λ_{geo}$", prior), path
    )


def _centre_prior(results):
    found = guesses(results, ablation.SPLITS)
    return {
        split: {"AUC": 100 * known["centre prior"]["AUC"].value}
        for split, known in found.items()
    }


def save(figure: Figure, path: Path):
    """Write a figure as an SVG without its date, with names that do not change."""
    with plt.rc_context({"svg.hashsalt": path.name}):
        figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


# --- one image, two sounds ----------------------------------------------------------


@dataclass(frozen=True)
class Swap:
    """A scene of two objects, under the sound of the one and of the other.

    scene: its image is `WIDE` pixels wide; names: of the two objects; maps (2, 224, 224),
    normalised; sounds: two spectrograms (F, T); scenes: how many had two objects;
    right: in how many of them both peaks are on the object that sounds.
    """

    scene: Scene
    names: tuple[str, ...]
    maps: Tensor
    sounds: Tensor
    scenes: int
    right: int


def clearest_swap(model: SoundLocaliser, count: int = 300, seed: int = 0) -> Swap:
    """Of the first `count` scenes of `test`, the one whose map follows the sound best.

    Of those with two objects it is the one where the map of either sound is higher on
    the object that sounds than anywhere else, by as much as possible for the sound that
    does worse. The sounds of the silent objects are those of notebook 06.
    """
    size, audio = model.config.image_size, model.config.audio
    numbers, scenes = zip(
        *(
            (number, scene)
            for number, scene in enumerate(compose_many("test", seed, count, size))
            if len(scene.objects) == 2
        )
    )
    bank = load_scenes("test", 480, 32, audio.samples, seed + 1)
    own = torch.from_numpy(np.stack([scene.wave for scene in scenes]))
    other = evaluation.other_sounds(scenes, bank)["first silent object's"]
    images = torch.from_numpy(np.stack([scene.image for scene in scenes]))
    sounds = [spectrogram(wave, audio) for wave in (own, other)]
    with evaluating(model):
        v = model.embed_image(normalise(images.permute(0, 3, 1, 2)))  # (M, C, h, w)
        a = torch.stack([model.embed_audio(x) for x in sounds], 1)  # (M, 2, C)
        maps = torch.einsum("mchw,mkc->mkhw", v, a)  # eq. 3
    p = localise.resize(maps.flatten(0, 1)).unflatten(0, (-1, 2))  # (M, 2, 224, 224)
    on = torch.from_numpy(np.stack([scene.objects for scene in scenes])).bool()
    inside = p.where(on, torch.tensor(-1.0)).amax((2, 3))  # (M, 2)
    lead = inside - p.where(~on, torch.tensor(-1.0)).amax((2, 3))
    best = int(lead.amin(1).argmax())
    scene = compose_many("test", seed, 1, WIDE, start=numbers[best])[0]
    return Swap(
        scene,
        (scene.class_name, scene.silent[0]),
        p[best],
        torch.stack([x[best, 0] for x in sounds]),
        len(scenes),
        int((lead > 0).all(1).sum()),
    )


def two_sounds(swap: Swap, path: Path = TWO_SOUNDS):
    """One image, two sounds, two maps: the picture that opens the series."""
    note = (
        f"×: the peak of the map. The clearest of {swap.scenes} scenes with two "
        f"objects; in {swap.right} of them both peaks are on what sounds."
    )
    figure = plot.opening(
        swap.scene.image,
        [name.replace("_", " ") for name in swap.names],
        swap.maps.unbind(),
        swap.sounds.unbind(),
        note,
    )
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=200, pil_kwargs={"quality": 88, "method": 6})
    plt.close(figure)
