"""Predict the road of pictures, folders and videos with a trained network."""

from backstride.pictures.manifest import Outcome, Skipped
from backstride.roads.prediction.predictor import Predictor
from backstride.roads.prediction.run import Summary, predict

__all__ = ["Outcome", "Predictor", "Skipped", "Summary", "predict"]
