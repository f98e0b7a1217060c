"""What time it is: passed to whoever needs it, so that tests decide."""

from __future__ import annotations

import time
from collections.abc import Callable

#: UTC seconds since 1970.
Clock = Callable[[], float]
SECONDS_A_DAY = 86400

system_clock: Clock = time.time
