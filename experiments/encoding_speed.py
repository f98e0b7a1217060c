"""Texts encoded per second, ours against sentence-transformers' own `encode`, in one run.

Example: python experiments/encoding_speed.py data/opinions.parquet --texts 2000

Both encode the same strings with the embedded encoder, each as a user gets it: ours through
`FeatureSource` into an empty cache, theirs by `SentenceTransformer.encode` at its defaults. Loading
the model counts for neither. The two take turns, and the figures are medians, because other
programs on a machine slow both. Last comes a second run's time for all texts of the file, from a
cache that holds them: filled with random vectors, since their values do not matter there.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from palate import PreferenceData
from palate.features import Encoded, FeatureSource, resolve_backbone
from palate.features.backbone import Backbone
from palate.features.cache import text_key
from palate.features.rendering import TextPair
from palate.features.spec import LocalBackbone

Encode = Callable[[], object]


def machine() -> str:
    """What kind of machine this is: the ratio depends on it."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    flags = torch.cpu.get_capabilities()
    units = [name for name in ("amx_bf16", "avx512_bf16") if flags.get(name)]
    cores = flags.get("num_physical_cores")
    return f"{cores} cores, bfloat16 in hardware: {', '.join(units) or 'none'}"


def draw(items: Sequence[TextPair], texts: int, seed: int) -> list[TextPair]:
    """Some of the items, at random."""
    rows = np.random.default_rng(seed).permutation(len(items))[:texts]
    return [items[i] for i in rows]


def encode_cold(local: LocalBackbone, backbone: Backbone, texts: Sequence[TextPair]) -> Encoded:
    """Encode into an empty cache with a model that is loaded already."""
    with tempfile.TemporaryDirectory() as folder:
        source = FeatureSource(local, Path(folder))
        source.backbone = backbone
        return source.encode(texts)


def seconds(encode: Encode) -> float:
    """How long one call takes."""
    started = time.perf_counter()
    encode()
    return time.perf_counter() - started


def take_turns(ours: Encode, theirs: Encode, texts: int, rounds: int) -> float:
    """Print the texts per second of every round and their medians; the ratio of the medians."""
    print(f"{'round':>8}{'ours':>12}{'theirs':>12}{'ratio':>8}   (texts per second)")
    pairs: list[tuple[float, float]] = []
    for number in range(rounds):
        pairs.append((texts / seconds(ours), texts / seconds(theirs)))
        print_row(str(number + 1), *pairs[-1])
    our_median, their_median = median(pair[0] for pair in pairs), median(pair[1] for pair in pairs)
    print_row("median", our_median, their_median)
    return our_median / their_median


def print_row(name: str, ours: float, theirs: float) -> None:
    """One line of the table."""
    print(f"{name:>8}{ours:12.1f}{theirs:12.1f}{ours / theirs:8.2f}", flush=True)


def second_run(local: LocalBackbone, width: int, texts: Sequence[TextPair]) -> str:
    """Ask for everything, as a new process does, where the cache holds it."""
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((len(texts), width), dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder:
        first = FeatureSource(local, Path(folder))
        first.cache.write([text_key(*pair) for pair in texts], vectors, np.ones(len(texts), int))
        started = time.perf_counter()
        again = FeatureSource(resolve_backbone("minilm"), Path(folder)).encode(texts)
        return f"{time.perf_counter() - started:.2f} s, {again.computed} of {len(texts)} computed"


def main() -> None:
    """Read the arguments, take turns, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="comparisons: Parquet, JSON Lines or CSV")
    parser.add_argument("--texts", type=int, default=2000, help="texts drawn from the file")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0, help="which texts are drawn")
    arguments = parser.parse_args()

    items = PreferenceData.load(arguments.file).item_texts()
    texts = draw(items, arguments.texts, arguments.seed)
    local = resolve_backbone("minilm")
    backbone = Backbone(local)
    rendered = [backbone.renderer.render(*pair) for pair in texts]
    theirs = SentenceTransformer(str(local.folder))
    tokens = sum(map(len, backbone.renderer.tokenize(rendered))) / len(rendered)
    print(f"machine: {machine()}; threads: {torch.get_num_threads()}")
    print(f"texts: {len(texts)} of {arguments.file.name}, {tokens:.0f} tokens on average")
    print(f"ours: {local.spec.dtype}, theirs: {next(theirs.parameters()).dtype}")

    encode_cold(local, backbone, texts[:64])  # a first call of either pays for set-up
    theirs.encode(rendered[:64])
    found = encode_cold(local, backbone, texts[:64]).features
    cosine = float((found * torch.from_numpy(theirs.encode(rendered[:64]))).sum(1).min())
    print(f"cosine of ours with theirs: at least {cosine:.4f}")
    ratio = take_turns(
        lambda: encode_cold(local, backbone, texts),
        lambda: theirs.encode(rendered),
        len(texts),
        arguments.rounds,
    )
    print(f"ours encodes {ratio:.2f} times as many texts per second")
    print(f"second run, all in the cache: {second_run(local, found.shape[1], items)}")


if __name__ == "__main__":
    main()
