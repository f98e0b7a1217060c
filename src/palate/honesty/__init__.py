"""Whether answers still fit what was learned of a user, and whether they were given with care."""
