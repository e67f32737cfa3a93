"""Predict the road of pictures, folders and videos with a trained network."""

from backstride.roads.prediction.job import Summary, predict
from backstride.roads.prediction.manifest import Outcome, Skipped
from backstride.roads.prediction.predictor import Predictor

__all__ = ["Outcome", "Predictor", "Skipped", "Summary", "predict"]
