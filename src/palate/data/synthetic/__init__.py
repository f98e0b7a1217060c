"""The Attributes world: a synthetic data set that knows its own truth."""

from palate.data.synthetic.attributes import ATTRIBUTES, Attribute
from palate.data.synthetic.config import AttributesConfig
from palate.data.synthetic.generate import make_attributes_world
from palate.data.synthetic.world import AttributesWorld, Response

__all__ = [
    "ATTRIBUTES",
    "Attribute",
    "AttributesConfig",
    "AttributesWorld",
    "Response",
    "make_attributes_world",
]
