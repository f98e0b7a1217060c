"""The command line starts quickly, knows its version, and stops cleanly at Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.cli.conftest import Desk, Palate
from tests.toy import contents

#: What takes a second to import, and stays out until it is needed.
HEAVY = {"torch", "transformers", "pyarrow", "numpy", "safetensors", "scipy", "datasets"}
COMMANDS = [
    *(
        "train",
        "export",
        "evaluate",
        "adapt",
        "withdraw",
        "combine",
        "rank",
        "question",
        "check",
        "methods",
    ),
    *("serve", "align", "data annotate", "bench win-rates"),
    *("data", "data check", "data attributes", "data sets", "data prepare"),
    *("bench", "bench run", "bench tune", "bench report"),
    *("scale", "scale encode", "scale adapt", "scale score"),
    *("keys", "keys create", "keys list", "keys rotate", "keys revoke"),
]
RUN = "from palate.cli import main; main()"


def run_python(code: str, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_help_is_quick() -> None:
    def seconds() -> float:
        started = time.monotonic()
        result = run_python(RUN, "--help")
        assert result.returncode == 0
        assert "palate train comparisons.parquet --out runs/first" in result.stdout
        return time.monotonic() - started

    assert min(seconds() for _ in range(3)) < 0.6


MODULES = "import sys, json; print(json.dumps(sorted({m.split('.')[0] for m in sys.modules})))"


@pytest.mark.parametrize(
    "code",
    [
        "import palate; dir(palate)",
        "import palate.cli.app",
        "import sys; sys.argv = ['palate', '--help']\ntry: import palate.cli; palate.cli.main()\n"
        "except SystemExit: print()",
        "import sys; sys.argv = ['palate', 'train', '--help']\n"
        "try: import palate.cli; palate.cli.main()\nexcept SystemExit: print()",
    ],
    ids=["import palate", "the commands", "--help", "train --help"],
)
def test_nothing_heavy_is_imported_before_it_is_needed(code: str) -> None:
    result = run_python(f"{code}\n{MODULES}")
    assert result.returncode == 0, result.stderr
    assert not HEAVY & set(json.loads(result.stdout.splitlines()[-1]))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, palate: Palate) -> None:
    result = palate(*command.split(), "--help")
    assert result.code == 0
    assert result.out.startswith("Usage: palate")
    if command not in ("data", "bench", "keys", "scale"):
        assert "Example: palate" in result.out


def test_no_words_at_all_give_help(palate: Palate) -> None:
    for words in ((), ("data",)):
        result = palate(*words)
        assert result.code == 2
        assert "Usage: palate" in result.out + result.err


def test_the_version(palate: Palate) -> None:
    assert palate("--version").out == f"palate {version('palate')}\n"


def test_public_names_are_there_and_others_are_not() -> None:
    import palate

    for name in palate.__all__:
        assert getattr(palate, name).__name__ == name
    assert dir(palate) == sorted(palate.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Palate'"):
        _ = palate.Palate


#: The command line, which says when training is under way, and then takes its time.
SLOW_TRAINING = """
import sys, time
from palate import training
draw = training.draw_step
def slow(*values):
    print("under way", flush=True)
    time.sleep(0.05)
    return draw(*values)
training.draw_step = slow
from palate.cli import main
main()
"""
#: The same, while the model is written.
SLOW_SAVING = """
import sys, time
from palate import model
write = model.write_model
def slow(*values, **named):
    write(*values, **named)
    print("under way", flush=True)
    time.sleep(30)
model.write_model = slow
from palate.cli import main
main()
"""


def interrupt(code: str, words: Sequence[object]) -> tuple[int, str]:
    """Send SIGINT as soon as the process says that it is under way."""
    command = [sys.executable, "-c", code, *map(str, words)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "under way\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    return process.returncode, err


@pytest.mark.parametrize(
    ("code", "overwrite"),
    [(SLOW_TRAINING, False), (SLOW_SAVING, False), (SLOW_SAVING, True)],
    ids=["training", "saving", "overwriting"],
)
def test_ctrl_c_leaves_everything_as_it_was(
    code: str, overwrite: bool, desk: Desk, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    if overwrite:
        out.mkdir()
        for path in desk.run.iterdir():
            (out / path.name).write_bytes(path.read_bytes())
    before = contents(tmp_path)
    words = desk.train(out, *["--overwrite"] * overwrite, "--method", "bt")
    status, err = interrupt(code, words)
    assert status == 130
    assert err.endswith("interrupted; files are as they were\n")
    assert "Traceback" not in err
    assert contents(tmp_path) == before


def test_a_reader_that_goes_away_is_no_traceback(desk: Desk) -> None:
    command = [sys.executable, "-c", RUN, "data", "check", str(desk.comparisons), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
