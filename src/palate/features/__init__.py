"""From texts to hidden states: backbones, and the cache that encodes each text once."""

from palate.features.encoding import Encoded, FeatureSource
from palate.features.spec import BackboneSpec, resolve_backbone

__all__ = ["BackboneSpec", "Encoded", "FeatureSource", "resolve_backbone"]
