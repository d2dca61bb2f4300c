"""Where the modules of 0.1 are now: their old names work for one release, with a warning.

To be deleted with 0.3.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

# package: names of modules as they were in 0.1, or old=new
MODULES = """
.: cachedir=cache mistake=errors
board: bounds=plausibility changes choices=selection comparison exports figures freezing markdown
board: neighbours=recommend recommend shift=similarity similarity tables trace=explain truths=plausibility
board.figures: charts gains heatmap svg
cli.commands: arguments audit catalog clock=timing command=run console doctor factsheet=catalog
cli.commands: newcard=templates newmethod=templates progress=console questions referee=submissions
methods: digest lineage=digest loading=loader method plugins=method references versions
results: archive bundle editions frame grid index predictions ranking report=run_table rounding row standings
results: stats store submissions=bundle timings wording
runner: api=experiment bench=cell_job cell descriptions forecast honesty=record inputs=task_data machine plan
runner: planfile=plan record request=plan requirements=plan samples=task_data scoring session=timing_runs
runner: sweep yardstick=machine_probes
runner.sandbox: admitted=file_rules bubblewrap jail=sandbox landlock seccomp
runner.selection: lodo=leave_one_dataset_out search selection=rules trials=search validators
runner.worker: energy=stopwatch executors.local=local features=extraction folds=child jobs=child stopwatch
runner.worker: textencoding=text_encoding watchdog worker=server
tasks: calibration=synthetic card core=grids duplicates episodes frozen=split_digests kinds=own loaders
tasks: loaders.embedded=builtin metrics own place=card registry schema=card split
tasks.builtin: loaders.clinical=wdbc loaders.digits=digits loaders.fonts=glyphs loaders.glyphs=glyphs
tasks.builtin: loaders.samples=digits loaders.scripts=glyphs
tasks.datasets: backbone=pretrained dataset download fetch hub=download manifest=digests mirrors=fetch
tasks.datasets: unpack=download weights=pretrained
tasks.loaders: loaders.annotated=image_folders loaders.folders=image_folders loaders.frames=tabular
tasks.loaders: loaders.idx=idx loaders.lists=image_folders loaders.matching=views
tasks.loaders: loaders.matfolder=mat_svmlight loaders.medmnist=npz loaders.npz=npz loaders.omniglot=omniglot
tasks.loaders: loaders.parquet=hub_parquet loaders.parsed=parse_cache loaders.table=tabular
tasks.loaders: loaders.tables=mat_svmlight loaders.texts=texts loaders.views=views loaders.voc=voc
tasks.synthetic: calibration.draw=draw calibration.linear=shifts calibration.rotation=shifts
tasks.synthetic: calibration.shift=shifts
training: arrays convergence descent=trainer detect=detector embed=features inner=meta kernels losses meta
training: nets=networks priors=label_shift shallow timing=meter transport=optimal_transport trunks=backbones
training: tuning=fine_tuning
verification: accused=proof answers checkup=contract contract probes promises=checks proof published pytest_plugin
verification: reproduce reproduction=reproduce specimens=fixtures
verification.known_truth: calibration.alignment=alignment calibration.cells=checks
verification.known_truth: calibration.centroid=learners calibration.checks=checks
verification.known_truth: calibration.controls=learners calibration.covariate=closed_forms
verification.known_truth: calibration.demands=demands calibration.expected=expected
verification.known_truth: calibration.families=demands calibration.forms=closed_forms
verification.known_truth: calibration.prior=learners calibration.regression=regression
verification.known_truth: calibration.risks=closed_forms calibration.rules=learners
verification.known_truth: calibration.threshold=learners calibration.winners=expected selftest
verification.submissions: controls guard=pull_request inspection plausibility=inspection submission=submit
verification.submissions: verdict=inspection
"""

# module as it was in 0.1: names in it as old=new, or old=module:new where the new one is in another module
NAMES = """
descent: Descent=training._legacy:Descent Turn=training.objective:Turn label_loss=supervised_loss told=label_loss
method: Refusal=errors:NotApplicable
mistake: Mistake=UsageError
priors: LabelShift=LabelShiftMethod
pytest_plugin: PROMISES=CHECKS
shallow: Moving=training._legacy:Moving Weighting=training._legacy:Weighting
tuning: Tuning=training._legacy:Tuning
"""
PUBLIC = {"Mistake": "UsageError", "Refusal": "NotApplicable"}  # of tlbench itself


class Moved(FutureWarning):
    """An old name was used; the message has the new one."""


def _moved() -> Iterator[tuple[str, str]]:
    for line in MODULES.strip().splitlines():
        package, _, words = line.partition(":")
        for word in words.split():
            old, _, new = word.partition("=")
            yield f"tlbench.{old}", ".".join(filter(None, ("tlbench", package.strip("."), new or old)))


WHERE = dict(_moved())
RENAMED = {
    f"tlbench.{line.partition(':')[0]}": dict(w.split("=") for w in line.partition(":")[2].split())
    for line in NAMES.strip().splitlines()
}


def warn(old: str, new: str) -> None:
    """Say once that a name is old."""
    warnings.warn(f"{old} is now {new}; the old name goes with tlbench 0.3", Moved, stacklevel=3)


class _Old(ModuleType):
    """A module under its old name."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        new, home = RENAMED.get(self.__name__, {}).get(name, name), WHERE[self.__name__]
        module, _, new = new.rpartition(":")
        return getattr(importlib.import_module(f"tlbench.{module}" if module else home), new)


class _Finder(MetaPathFinder, Loader):
    """Asked last: only for modules that are not there."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self, is_package=True) if fullname in WHERE or fullname in PACKAGES else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Old(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        if module.__name__ in WHERE:
            warn(module.__name__, WHERE[module.__name__])


PACKAGES = {name.rpartition(".")[0] for name in WHERE} - {"tlbench"}


def install() -> None:
    """Let old names be imported."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
