"""How well a fitted method predicts: metrics and the evaluation of a split."""

from palate.evaluation.evaluate import Evaluation, Predictions, evaluate

__all__ = ["Evaluation", "Predictions", "evaluate"]
