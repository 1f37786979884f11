"""Everything that changes while a model trains: weights, their EMA, Adam, metrics.

>>> state = TrainState(config, device)
>>> state.update(loss, learning_rate)         # one step of Adam
>>> state.averaged                            # the model that is validated and saved
"""

import math
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from sslnb.model import PRESETS, ModelConfig, SoundLocaliser
from sslnb.training import parallel
from sslnb.training.recipe import TrainConfig


class TrainState:
    """A fresh model with its optimiser, from the configuration's seed.

    start: a model whose weights it has instead: a folder, or an authors' file; ValueError
    where it is of another size. model: SoundLocaliser; optimizer: Adam; ema: the
    exponential moving average of the weights (AveragedModel), or None; start: the name
    of what it began with, "" for random weights; history: the metrics of every epoch.
    """

    def __init__(
        self, config: TrainConfig, device: torch.device, start: str | Path = ""
    ):
        torch.manual_seed(config.seed)
        model = SoundLocaliser(network(config))
        if start:
            model.load_state_dict(_weights(start, model))
        self.start = Path(start).name  # "" where it is not given
        model = model.to(device)
        self.model = parallel.sync_batch_norm(model)
        # PyTorch's annotations do not know this argument of Module.to
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), weight_decay=config.weight_decay, fused=True
        )
        self.ema = None
        if config.ema_decay:
            self.ema = AveragedModel(
                self.model, use_buffers=True, multi_avg_fn=ema_update(config.ema_decay)
            )
        self.history: list[dict] = []

    @property
    def averaged(self) -> SoundLocaliser:
        """The model that is validated and saved: the EMA, or without one the weights."""
        if self.ema is None:
            return self.model
        averaged = self.ema.module
        assert isinstance(averaged, SoundLocaliser)
        return averaged

    def update(self, loss: Tensor, learning_rate: float) -> None:
        """One step of Adam down the gradient of a loss, and of the EMA."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        if self.ema:
            self.ema.update_parameters(self.model)

    def modules(self) -> dict:
        """{name: module} of all that is saved."""
        return {"model": self.model} | ({"average": self.ema} if self.ema else {})

    def is_best(self) -> bool:
        """Whether the last epoch was validated, and none before it was better."""
        return quality(self.history[-1]) == max(map(quality, self.history)) > -math.inf


def _weights(start, model):
    """The weights of a trained model for one of the same size."""
    found = SoundLocaliser.open(start)
    for what, value in asdict(model.config).items():
        if (other := asdict(found.config)[what]) != value:
            raise ValueError(
                f"{start} has {what} = {other!r}, and the model to train {value!r}: start "
                "with a model of the same size, or with none"
            )
    return found.state_dict()


def network(config: TrainConfig) -> ModelConfig:
    """Size of the encoders: the preset's, but for what the configuration changes."""
    usual = PRESETS[config.preset]
    return replace(
        usual,
        smooth=usual.smooth if config.smooth is None else config.smooth,
        blocks=usual.blocks if config.blocks is None else config.blocks,
    )


def ema_update(decay: float):
    """How AveragedModel updates; over few steps the average is of a tenth of them."""

    def update(averages, values, count):
        short = (1 + count.item()) / (10 + count.item())
        get_ema_multi_avg_fn(min(decay, short))(averages, values, count)

    return update


def quality(metrics: dict) -> float:
    """By what the best epoch is chosen: AUC + pointing game on val, else its loss.

    −∞ for an epoch that was not validated.
    """
    if "val_AUC" in metrics:
        return metrics["val_AUC"] + metrics["val_pointing"]
    return -metrics.get("val_loss", math.inf)
