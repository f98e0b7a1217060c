"""Many requests at once, as they are done, and a clean stop in the middle."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

#: Seconds that work under way is given to end, after an error or Ctrl-C.
GRACE = 10.0


def each(
    function: Callable[[T], R], items: Sequence[T], concurrency: int, grace: float = GRACE
) -> Iterator[tuple[int, R]]:
    """What a function makes of every item, with the item's place, in the order of being done.

    After an error, Ctrl-C, or where the caller leaves, nothing new is begun and what is under way
    has `grace` seconds to end: let the function itself keep what must not be lost.
    """
    todo: SimpleQueue[int] = SimpleQueue()
    for place in range(len(items)):
        todo.put(place)
    done: SimpleQueue[tuple[int, R | None, BaseException | None]] = SimpleQueue()
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            try:
                place = todo.get_nowait()
            except Empty:
                return
            try:
                done.put((place, function(items[place]), None))
            except BaseException as error:  # to be raised where it can be answered
                stop.set()
                done.put((place, None, error))

    # daemons: a request that hangs does not keep an interrupted program alive
    threads = [
        threading.Thread(target=work, daemon=True) for _ in range(min(concurrency, len(items)))
    ]
    for thread in threads:
        thread.start()
    try:
        for _ in items:
            place, result, error = done.get()
            if error is not None:
                raise error
            yield place, result  # type: ignore[misc]
    finally:
        stop.set()
        until = time.monotonic() + grace
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
