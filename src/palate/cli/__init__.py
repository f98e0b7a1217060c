"""The command line: thin, since every command parses, calls and prints."""

from __future__ import annotations

import os
import sys

#: Exit code of bad input and bad usage; a traceback's own is 1, and Ctrl-C's 130.
BAD_INPUT = 2
INTERRUPTED = 130


def main() -> None:
    """Run the command line and exit with a code that means something."""
    import click

    from palate.cli.app import app
    from palate.errors import PalateError

    try:
        code = app(standalone_mode=False)
    except PalateError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        code = BAD_INPUT
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        print("interrupted; files are as they were", file=sys.stderr)  # noqa: T201
        code = INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe has gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)
