"""`tlbench new`: a task's card and a method's package to start from."""

from __future__ import annotations

import importlib.util
import keyword
import re
from pathlib import Path

from tlbench.errors import UsageError
from tlbench.methods.method import shipped
from tlbench.tasks import own
from tlbench.tasks.registry import card_files

CARD = """\
# A task of your own: tlbench run --task {file} --method linear_probe --method source_only
# Paths start in this file's folder. These two lines are all that is needed; the rest, behind '#', has a default.
source = "photos/"  # where labels are plenty: a folder with a folder of images a class
target = "xrays/"  # where they are few: the same classes, seen otherwise

# Other kinds of data, for source and target alike; what is there is found by looking.
# source = "wine_red.csv"  # a table with a header, .csv or .parquet: a column of labels, the others numbers
# target = "wine_white.csv"
# source = "reviews/"  # a folder with a text file a class: good.txt and bad.txt, a text a line
# source = "photos.npz"  # x (n, ...) and y (n,), and if you like the names of the classes as `classes`
# source = "scans/"  # a folder with x.npy and y.npy, which may be larger than memory

# Other tasks than one source and one target.
# sources = ["photos/", "drawings/"]  # several sources at once
# domains = ["photos/", "drawings/", "xrays/"]  # every one to every other: six tasks
# pairs = [["photos/", "xrays/"], ["drawings/", "xrays/"]]  # just these
# paradigm = "different-domain-different-task"  # where source and target have other classes

# Of tables.
# label = "quality"  # the column of labels, if it is not called 'label'
# drop = ["id", "date"]  # columns that are no features
# text = "review"  # the column of texts, if it is texts that are to be told apart
# regime = "regression"  # where the label is a number to predict

# What is chosen for you; `tlbench show {file}` prints it.
# name = "{name}"  # [a-z0-9_]; part of every row and every split
# version = 1  # raise it when the task changes, so that old rows are not mixed with new ones
# classes = ["cat", "dog"]  # what must be there, in this order
# backbone = ["mobilenetv2_100_coral", "mobilenetv2_100"]  # the first that is here: `tlbench list backbones`
# trainable = true  # train the network end to end, and not only a layer over its features
# side = 32  # pixels that images are made to for a trainable network
# augment = ["shift", "flip"]  # what is done to images while training
# budgets = [0, 1, 5, 20]  # labels per class of the target
# seeds = 10  # repetitions under --full
# quick = {{ budgets = [0, 5], seeds = 3 }}  # without --full
# steps = 500  # of gradient descent
# lr = 0.01  # its learning rate
# summary = "From photos to X-rays"  # one line about the task
# license = "not stated"  # of the data
# cite = "not stated"  # who is to be cited for them

# Of one domain: its name is the last part of its path.
# [at.xrays]
# path = "xrays/2024/"  # elsewhere than its name says
# take = 500  # only so many samples
# view = {{ keep = ["cat", "dog"] }}  # only these classes
"""


def write_card(name: str) -> Path:
    """Write a card called `name`, or at the path `name`, which then ends in .toml.

    Raises:
        UsageError: there is such a file already, no such folder, or a task that ships has the name.
    """
    file = Path(name if name.endswith(".toml") else f"{name}.toml")
    called = own.slug(file.stem)
    if not called:
        raise UsageError(f"new task {name}: no name can be made of {file.stem!r}; use a-z, 0-9 and '_'")
    if called in card_files():
        raise UsageError(f"new task {name}: a task that ships is called {called!r}; choose another name")
    if not file.parent.is_dir():
        raise UsageError(f"{file}: there is no folder {file.parent}; make it first")
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(CARD.format(file=file, name=called))
    except FileExistsError:
        raise UsageError(f"{file}: is there already and stays as it is; choose another name") from None
    return file


PROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "{distribution}"
version = "0.1.0"
description = "A transfer-learning method for tlbench"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["tlbench"]

[project.optional-dependencies]
test = ["pytest>=8"]

[project.entry-points."tlbench.methods"]
{name} = "{name}:{cls}"

[tool.setuptools]
package-dir = {{ "" = "src" }}
py-modules = ["{name}"]

[tool.pytest.ini_options]
testpaths = ["tests"]
"""

METHOD = '''\
"""{cls}: class means between the source's and the shots'.

A class's mean in the target is not known from a few shots, nor from the source, which looks different. With a normal
prior around the source's mean that is worth `weight` shots, the posterior mean of a class with n shots is

    m = (weight * mean of the source's + sum of the n shots) / (weight + n)

An input goes to the class whose m is nearest. Without shots that is the source's own mean; a source of another task
has no say, but in the features.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from tlbench import Labeled, NotApplicable, Predictor, Train
from tlbench.training.features import embedded
from tlbench.training.trainer import TrainedMethod
from torch import Tensor
from torch.nn.functional import one_hot


@dataclass(frozen=True)
class {cls}(TrainedMethod):
    """Classify by the nearest class mean, the shots' drawn towards the source's."""

    weight: float = 2.0  # how many shots a source's mean is worth

    family: ClassVar[str] = "feature-based"
    paper: ClassVar[str] = "none yet"
    needs: ClassVar[frozenset[str]] = frozenset()
    search: ClassVar[dict[str, tuple[object, ...]]] = {{"weight": ("log", 0.1, 100.0)}}

    def fit(self, train: Train, seed: int) -> Predictor:
        flat, embed = embedded(train, seed, self.erm)  # features that the source has taught, if any
        total, n = sums(flat.shots, train.n_classes)
        for source in flat.sources if flat.same_task else ():
            s, m = sums(source, train.n_classes)
            worth = self.weight * (m > 0)  # a class that this source lacks has no mean in it
            total, n = total + worth * s / m.clamp(min=1), n + worth
        if not n.any():
            raise NotApplicable("neither shots nor a source of the same task: there is no mean of any class")
        means, lacking = total / n.clamp(min=1e-9), n[:, 0] == 0
        return lambda x: (-torch.cdist(embed(x), means).square()).masked_fill(lacking, -1e30)


def sums(part: Labeled, n_classes: int) -> tuple[Tensor, Tensor]:
    """The sum of each class's rows, (n_classes, d), and how many they are, (n_classes, 1)."""
    member = one_hot(part.y, n_classes).to(part.x.dtype)  # (n, n_classes)
    return member.T @ part.x, member.sum(0)[:, None]
'''

TEST = '''\
"""{cls} passes the checks of every method of tlbench, one test each."""

from collections.abc import Callable

import pytest
from tlbench.verification.pytest_plugin import CHECKS


@pytest.mark.parametrize("check", CHECKS)
def test_{name}_passes_its_check(check: str, tlbench_contract: Callable[..., None]) -> None:
    tlbench_contract("{full}", check)
'''

README = """\
# {cls}

A transfer-learning method for tlbench, in `src/{name}.py`. From this folder:

```
uv pip install -e .
tlbench check {full}
tlbench run --task digits --method {full}
```

The first (or `pip install -e .`) installs it beside tlbench, which then lists it; the second holds it to the contract
that all methods keep; the third measures it against target-only and source-only. `pytest` holds it to the contract
too, one test per check.
"""

FILES = {"pyproject.toml": PROJECT, "src/{name}.py": METHOD, "tests/test_{name}.py": TEST, "README.md": README}


def write_method(where: str) -> Path:
    """Write a package into the new folder `where`, whose last part is the method's name. Returns the folder.

    Raises:
        UsageError: there is such a file or folder already, nothing to put it in, or it is no name for a module of its
            own.
    """
    folder = Path(where)
    name = folder.name
    if folder.exists() or folder.is_symlink():
        raise UsageError(f"new method {where}: {folder} is there already and stays as it is; choose another name")
    if not folder.parent.is_dir():
        raise UsageError(f"new method {where}: there is no folder {folder.parent}; make it first")
    check_name(name, where)
    full = full_name(name)
    said = {"name": name, "cls": class_name(name), "distribution": full.partition("/")[0], "full": full}
    for file, text in FILES.items():
        place = folder / file.format(**said)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text.format(**said), encoding="utf-8")
    return folder


def check_name(name: str, where: str) -> None:
    """Refuse what cannot be a module beside the others.

    Raises:
        UsageError: no identifier in small letters, a shipped method's name, or a module's that is there already.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*[a-z0-9]", name) or keyword.iskeyword(name):
        raise UsageError(f"new method {where}: {name!r} is no name for a module; use a-z, 0-9 and '_', as my_method")
    if name in shipped():
        raise UsageError(f"new method {where}: a method that ships is called {name!r}; choose another name")
    if importlib.util.find_spec(name) is not None:
        raise UsageError(f"new method {where}: there is a module {name!r} already; choose another name")


def full_name(name: str) -> str:
    """How tlbench will call the method once it is installed."""
    return f"tlbench-{re.sub('_+', '-', name)}/{name}"


def class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))
