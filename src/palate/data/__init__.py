"""Comparisons: loading, validating, describing and dividing them."""

from palate.data.comparisons import PreferenceData
from palate.data.splits import Split, SplitSettings, make_split

__all__ = ["PreferenceData", "Split", "SplitSettings", "make_split"]
