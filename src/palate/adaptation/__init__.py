"""What is known of one user, kept and continued answer by answer."""

from palate.adaptation.profile import UserProfile

__all__ = ["UserProfile"]
