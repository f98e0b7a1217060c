"""The command line: thin, since every command parses, calls and prints."""

from __future__ import annotations

import io
import sys

#: Exit code of bad input and bad usage; a traceback's own is 1, and Ctrl-C's 130.
BAD_INPUT = 2
INTERRUPTED = 130


def main() -> None:
    """Run the command line and exit with a code that means something."""
    from palate.errors import PalateError

    for stream in (sys.stdout, sys.stderr):  # a terminal may know fewer letters than texts have
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        from palate.cli.app import app

        app(prog_name="palate")  # says itself what is wrong with a command's words, and exits
    except PalateError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(BAD_INPUT)
    except KeyboardInterrupt:
        sys.exit(_interrupted())
    except SystemExit as end:  # typer makes one of Ctrl-C
        sys.exit(_interrupted() if end.code == INTERRUPTED else end.code)


def _interrupted() -> int:
    print("interrupted; files are as they were", file=sys.stderr)  # noqa: T201
    return INTERRUPTED
