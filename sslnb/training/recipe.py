"""The settings of a run (notebook 05; section 4.1, table 1).

>>> TrainConfig.from_preset("paper", epochs=10)   # the paper's, for ten epochs only
>>> TrainConfig(model="D").parts                         # what model D of table 1 has
('app', 'geo', 'mask')
"""

import math
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from sslnb.settings import check

# Clips of SoundStamps for a complete run, and how often each is seen: many scenes a
# few times, or few clips often, as of a data set of videos.
REGIMES: dict[str, dict[str, int]] = {
    "scenes": {"clips": 8_000, "epochs": 12},
    "clips": {"clips": 500, "epochs": 40},
}
FRAMES = 0.35  # of them are crops of ordinary photographs, the others are composed
VAL_CLIPS = 400  # that choose the best epoch

# Of settings, the smallest and the largest value that has a meaning
RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("epochs", "passes", "validate_every"), (1, math.inf)),
    **dict.fromkeys(("learning_rate", "weight_decay", "geo_weight"), (0, math.inf)),
    **dict.fromkeys(("warmup", "ema_decay", "scale_p", "curriculum", "crop"), (0, 1)),
    **dict.fromkeys(("tau", "temperature"), (1e-6, math.inf)),
    "seed": (0, 2**32 - 1),  # an epoch's is a multiple of it, in 64 bits
    "rotation": (0, 180),
    "mix_alpha": (0, 1),
    "smooth": (0, 100),
    "blocks": (1, 100),
}

# Table 1: what each model has beside the contrastive loss.
TABLE_1: dict[str, tuple[str, ...]] = {
    "A": (),
    "B": ("app",),
    "C": ("app", "geo"),
    "D": ("app", "geo", "mask"),
    "E": ("app", "geo", "mask", "mix"),
    "F": ("app", "geo", "mask", "mix", "equivariance"),
}


def setting(default: Any, help: str) -> Any:
    """A field with its default, what it means, and its place in the paper."""
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class TrainConfig:
    """Everything that a run depends on beside its clips. Defaults: the laptop's."""

    preset: Literal["laptop", "paper"] = setting(
        "laptop", "size of the model, and its usual settings: the paper's, section 4.1"
    )
    model: Literal["A", "B", "C", "D", "E", "F"] = setting(
        "F", "of table 1: which augmentations and losses it is trained with"
    )
    regime: Literal["scenes", "clips"] = setting(
        "scenes",
        "of SoundStamps: many scenes, seen a few times, or few clips, seen often",
    )
    epochs: int = setting(12, "how often each clip is seen (section 4.1: 80)")
    passes: int = setting(
        1, "through the clips in an epoch: with more, few clips make a long one"
    )
    validate_every: int = setting(
        1, "epochs from one validation and saved state to the next; the last has one"
    )
    batch: int = setting(32, "clips a step, over all processes (section 4.1: 32)")
    learning_rate: float = setting(3e-3, "Adam's highest rate (section 4.1: 1e-4)")
    warmup: float = setting(
        0.1, "fraction of the steps over which the rate rises (ours)"
    )
    cosine_decay: bool = setting(
        True, "let the rate then fall to 0 along a cosine; else it stays (ours)"
    )
    weight_decay: float = setting(1e-4, "Adam's weight decay (released code)")
    ema_decay: float = setting(
        0.998,
        "decay a step of the exponential moving average of the weights, which is "
        "the model that is saved; 0: save the weights themselves (ours)",
    )
    seed: int = setting(0, "of weights, order and augmentations")
    form: Literal["release", "paper", "attention"] = setting(
        "release",
        "contrastive loss of the released code, or paper: equations 5 to 8; or the "
        "triplet loss of attended cells (Senocak et al. 2018)",
    )
    epsilon: float = setting(0.65, "ε of equation 5: cells above are foreground")
    epsilon_negative: float = setting(0.4, "cells below are background (released code)")
    tau: float = setting(0.03, "τ of equation 5: softness of the masks")
    temperature: float = setting(0.07, "of the softmax over sounds (released code)")
    geo_weight: float = setting(2.0, "λ_geo of equation 11 (section 3.3.3: 2)")
    mask_border: bool = setting(
        True, "leave out-of-frame cells out of L_geo; the released code counts them"
    )
    views: Literal["paper", "release"] = setting(
        "paper",
        "two views as in figure 2, or as in the released code, with its own T_geo, masks "
        "and border, from the first epoch on (training/released.py)",
    )
    crop: tuple[float, float] = setting(
        (0.3, 1.0),
        "T_geo: smallest and largest area of a crop, as fractions of the image",
    )
    scale_p: float = setting(
        0.5, "T_geo: probability that the content shrinks to half its size (A.1)"
    )
    rotation: float = setting(30.0, "T_geo: largest angle, in degrees (A.1)")
    mix_alpha: float = setting(0.65, "α of equation 4 in the last epoch; 0: no mixing")
    separate_masks: bool = setting(
        False,
        "draw a T_mask for each branch (figure 2); else both branches hear one "
        "masked sound, which is encoded once (released code)",
    )
    # A short run needs an easy start.
    curriculum: float = setting(
        0.4,
        "fraction of the run over which T_app and T_mask rise to their full "
        "frequency; 0: full from the start (ours)",
    )
    smooth: float | None = setting(
        None, "cells: σ of the smoothing of image features, where not the preset's"
    )
    blocks: tuple[int, ...] | None = setting(
        None, "residual blocks of each stage, where not the preset's"
    )
    precision: Literal["bf16", "fp32"] = setting(
        "bf16",
        "of the encoders, or fp32; the losses and the search for similar sounds "
        "are always in fp32 (on a GPU, PyTorch convolves fp32 in TF32)",
    )

    def __post_init__(self):
        for name in ("crop", "blocks"):  # lists, from JSON
            if isinstance(value := getattr(self, name), list):
                object.__setattr__(self, name, tuple(value))
        check(self, RANGES, preset=RECIPES)  # to which others may be added
        right = {
            "batch": (self.batch >= 2, "2 or more: one clip has no unpaired sound"),
            "crop": (0 < self.crop[0] <= self.crop[1], "0 < smallest <= largest <= 1"),
            "blocks": (
                self.blocks is None or 1 <= len(self.blocks) <= 4,
                "1 to 4 stages",
            ),
        }
        for name, (ok, need) in right.items():
            if not ok:
                raise ValueError(f"{name} is {getattr(self, name)!r}; need {need}")
        if self.views == "release":
            self._check_released()

    def _check_released(self):
        """The released code's views have these parts, and no such settings."""
        if not {"app", "geo", "mask"} <= set(self.parts):
            raise ValueError(
                f"model is {self.model!r}, which views='release' would augment as 'D'; "
                "need D, E or F"
            )
        of_ours = ("crop", "scale_p", "rotation", "separate_masks", "mask_border")
        for default in (f for f in fields(self) if f.name in of_ours):
            if getattr(self, default.name) != default.default:
                raise ValueError(
                    f"{default.name} is {getattr(self, default.name)!r}, but "
                    f"views='release' has its own: leave it at {default.default!r}"
                )

    @classmethod
    def from_preset(cls, preset: str, **changes: Any) -> "TrainConfig":
        """A preset's usual configuration, with changes; ValueError names a wrong one."""
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(changes) - known)
        if unknown:
            raise ValueError(
                f"unknown setting {', '.join(unknown)[:300]}; "
                f"known are {', '.join(sorted(known))}"
            )
        usual = dict(RECIPES.get(preset, {})) if isinstance(preset, str) else {}
        regime = changes.get("regime")
        if preset == "laptop" and isinstance(regime, str) and regime in REGIMES:
            usual["epochs"] = REGIMES[regime]["epochs"]
        return cls(**{"preset": preset, **usual, **changes})

    @property
    def parts(self) -> tuple[str, ...]:
        """What this model of table 1 has beside the contrastive loss."""
        return TABLE_1[self.model]


# Where a preset's usual run differs from TrainConfig's defaults. The paper's:
# Adam at a constant 1e-4, batches of 32, 80 epochs, everything from the start.
RECIPES: dict[str, dict[str, Any]] = {
    "laptop": {},
    "paper": {
        "epochs": 80,
        "learning_rate": 1e-4,
        "warmup": 0.0,
        "cosine_decay": False,
        "ema_decay": 0.0,
        "curriculum": 0.0,
    },
}


def learning_rate_at(config: TrainConfig, step: int, steps: int) -> float:
    """Rises linearly, then falls as a cosine to zero (one cycle), or stays."""
    rise = max(config.warmup * steps, 1) if config.warmup else 0
    if step < rise:
        return config.learning_rate * (step + 1) / (rise + 1)
    if not config.cosine_decay:
        return config.learning_rate
    return (
        config.learning_rate
        * 0.5
        * (1 + math.cos(math.pi * (step - rise) / (steps - rise)))
    )


def strength_at(config: TrainConfig, epoch: int) -> float:
    """How frequent T_app and T_mask are in an epoch, in [0, 1] of their own p."""
    rising = config.curriculum * config.epochs
    return min(1.0, epoch / rising) if rising else 1.0


def scaled(transform, strength):
    """A transform with every probability (a field named …_p) times `strength`."""
    names = [f.name for f in fields(transform) if f.name.endswith("_p")]
    return replace(transform, **{n: getattr(transform, n) * strength for n in names})
