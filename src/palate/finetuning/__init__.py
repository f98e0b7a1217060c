"""Training the backbone itself, by LoRA or in full, under any method's loss."""

from palate.finetuning.settings import BackboneTraining

__all__ = ["BackboneTraining"]
