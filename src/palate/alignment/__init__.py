"""From a user's posterior to better answers: policies, choosing, steering, judging."""
