"""Tuning: the same number of trials for every method, on validation alone, kept as they come."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palate.bench.cells import Cell, CellStore, identity_of
from palate.bench.experiment import Experiment, Row
from palate.bench.experiment_file import write_tuned
from palate.bench.material import Materials, Place, with_less
from palate.bench.runner import each, encode
from palate.errors import CannotRunError, ExperimentError, PalateError
from palate.methods import Method, MethodSettings, method_named
from palate.progress import Progress, Silent
from palate.settings import build
from palate.training import one_thread
from palate.tuning import try_settings

if TYPE_CHECKING:
    import optuna

#: In a folder of runs: results of trials, one file each.
TRIALS = "trials"
#: Trials before the optimiser models what it has seen; the first is the defaults.
RANDOM_TRIALS = 4


@dataclass(frozen=True)
class Chosen:
    """What a row's study chose for a seed.

    settings: those of the search space, by name. default, log_loss: the validation log-loss of
    the first trial and of the best. reason: why the method cannot run, where it cannot.
    """

    label: str
    seed: int
    settings: dict[str, Any]
    default: float | None
    log_loss: float | None
    reason: str | None = None

    def words(self) -> str:
        """The settings in a line."""
        return ", ".join(f"{name} {value}" for name, value in self.settings.items())


@dataclass(frozen=True)
class Study:
    """All trials of one row with one seed."""

    experiment: Experiment
    store: Path
    label: str
    row: Row
    seed: int
    trials: int


def tune(
    experiment: Experiment,
    path: Path,
    out: Path,
    place: Place,
    progress: Progress | None = None,
    *,
    trials: int = 8,
    jobs: int = 1,
) -> list[Chosen]:
    """Choose settings for every row and seed, and write them into the experiment's file.

    Every row has `trials` trials a seed on the split's validation part; the first are the
    defaults. Trials that were made before are not made again. Needs the `bench` extra.
    """
    _optuna()
    progress = progress or Silent()
    studies = [
        Study(experiment, out / TRIALS, label, row, seed, trials)
        for seed in experiment.seeds
        for label, row in experiment.rows.items()
    ]
    materials = Materials(place, progress)
    encode(experiment, [_first_cell(study, materials) for study in studies], materials)
    chosen = []
    with progress.track(f"{experiment.name}: tuning", len(studies)) as advance:
        for one in each(choose, studies, jobs, materials):
            if one.settings:
                write_tuned(path, one.label, one.seed, one.settings)
            chosen.append(one)
            advance(1)
    return sorted(chosen, key=lambda one: (list(experiment.rows).index(one.label), one.seed))


def space_of(row: Row) -> dict[str, tuple[Any, ...]]:
    """What is tuned: the method's search space without what the row itself settles."""
    settled = {*row.settings, *row.over}
    space = method_named(row.method).settings_class.search_space()
    return {name: values for name, values in space.items() if name not in settled}


def choose(study: Study, materials: Materials) -> Chosen:
    """Run one study; the best settings by the calibrated log-loss on validation."""
    space = space_of(study.row)
    results: list[tuple[dict[str, Any], float]] = []
    optimiser = _new_study(study.seed, space)
    try:
        for _ in range(study.trials):
            trial = optimiser.ask()
            settings = {
                name: values[trial.suggest_categorical(name, list(range(len(values))))]
                for name, values in space.items()
            }
            loss = _log_loss(study, settings, materials)
            results.append((settings, loss))
            optimiser.tell(trial, min(loss, 1e9))  # an optimiser takes no infinity
    except CannotRunError as reason:
        return Chosen(study.label, study.seed, {}, None, None, str(reason))
    settings, best = min(results, key=lambda result: result[1])
    if not math.isfinite(best):
        raise ExperimentError(f"rows.{study.label}: no trial of seed {study.seed} gave a number")
    first = results[0][1]
    default = first if math.isfinite(first) else None
    return Chosen(study.label, study.seed, settings, default, best)


def _new_study(seed: int, space: Mapping[str, tuple[Any, ...]]) -> optuna.Study:
    """An optimiser that starts at the defaults; the same seed asks the same questions."""
    library = _optuna()
    sampler = library.samplers.TPESampler(seed=seed, n_startup_trials=RANDOM_TRIALS)
    study: optuna.Study = library.create_study(sampler=sampler)
    study.enqueue_trial(dict.fromkeys(space, 0))
    return study


def _log_loss(study: Study, settings: dict[str, Any], materials: Materials) -> float:
    """The trial's result, from its file if it was made before; infinite for settings that fail."""
    row = study.row.at_settings(settings)
    cell = Cell(study.label, row, study.seed, _identity(study, row, materials))
    store = CellStore(study.store)
    content = store.read(cell.key)
    if content is None:
        content = {"identity": dict(cell.identity), **_tried(study, row, materials)}
        store.write(cell.key, content)
    loss = content["log_loss"]
    return math.inf if loss is None else float(loss)


def _tried(study: Study, row: Row, materials: Materials) -> dict[str, Any]:
    method_class = method_named(row.method)
    try:
        settings = build(method_class.settings_class, row.settings)
        loss = _validate(study, row, method_class, settings, materials)
    except CannotRunError:
        raise
    except PalateError as error:  # such as a loss that is no number at this learning rate
        return {"log_loss": None, "error": str(error)}
    return {"log_loss": loss if math.isfinite(loss) else None}


def _validate(
    study: Study,
    row: Row,
    method_class: type[Method],
    settings: MethodSettings,
    materials: Materials,
) -> float:
    experiment, seed = study.experiment, study.seed
    data = materials.data(experiment.data, seed)
    features = materials.features(data, experiment.backbone_of(row), method_class, settings)
    split = with_less(materials.split(experiment.data, experiment.split, seed), row)
    validation = split.validation()
    if validation is None:
        raise CannotRunError("the training comparisons are too few to validate on")
    with one_thread():
        trials = [
            try_settings(method_class, candidate, features, validation, seed)
            for candidate in settings.candidates()
        ]
    return min(calibration.log_loss for _, calibration in trials)


def _identity(study: Study, row: Row, materials: Materials) -> dict[str, Any]:
    return {"kind": "trial", **identity_of(study.experiment, materials, row, study.seed)}


def _first_cell(study: Study, materials: Materials) -> Cell:
    row = study.row.at_settings({})
    return Cell(study.label, row, study.seed, _identity(study, row, materials))


def _optuna() -> Any:  # noqa: ANN401 - the optimiser's module
    try:
        import optuna
    except ImportError as error:
        raise ExperimentError("tuning needs optuna: pip install 'palate[bench]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
