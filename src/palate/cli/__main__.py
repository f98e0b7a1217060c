"""`python -m palate.cli`, for launchers that start modules."""

from palate.cli import main

main()
