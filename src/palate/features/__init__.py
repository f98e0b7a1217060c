"""From texts to hidden states and likelihoods: backbones, and the cache of what they gave."""

from palate.features.encoding import FeatureSource
from palate.features.once import Encoded
from palate.features.spec import BackboneSpec, resolve_backbone

__all__ = ["BackboneSpec", "Encoded", "FeatureSource", "resolve_backbone"]
