"""Road segmentation: photographs in, the road of every pixel, trained, measured and drawn."""

from typing import TYPE_CHECKING

from backstride.lazy import attach

if TYPE_CHECKING:
    from backstride.roads.config import DataConfig, ModelConfig, RunConfig, TrainConfig
    from backstride.roads.evaluation.evaluate import evaluate
    from backstride.roads.network.model import build
    from backstride.roads.prediction.run import predict
    from backstride.roads.training.crossvalidate import crossvalidate
    from backstride.roads.training.run import train
else:
    _MODULES = {
        "config": ("DataConfig", "ModelConfig", "RunConfig", "TrainConfig"),
        "evaluation.evaluate": ("evaluate",),
        "network.model": ("build",),
        "prediction.run": ("predict",),
        "training.crossvalidate": ("crossvalidate",),
        "training.run": ("train",),
    }
    __getattr__, __dir__ = attach(__name__, **_MODULES)

__all__ = [
    "DataConfig",
    "ModelConfig",
    "RunConfig",
    "TrainConfig",
    "build",
    "crossvalidate",
    "evaluate",
    "predict",
    "train",
]
