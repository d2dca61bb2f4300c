"""`tlbench new task`: a commented card to start from."""

from __future__ import annotations

from pathlib import Path

from tlbench.errors import Mistake
from tlbench.tasks import own
from tlbench.tasks.registry import card_files

TEXT = """\
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
# budgets = [0, 1, 5, 20]  # labels a class of the target
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


def write(name: str) -> Path:
    """Write a card called `name`, or at the path `name`, which then ends in .toml.

    Raises:
        Mistake: there is such a file already, no such folder, or a task that ships has the name.
    """
    file = Path(name if name.endswith(".toml") else f"{name}.toml")
    called = own.slug(file.stem)
    if not called:
        raise Mistake(f"new task {name}: no name can be made of {file.stem!r}; use a-z, 0-9 and '_'")
    if called in card_files():
        raise Mistake(f"new task {name}: a task that ships is called {called!r}; choose another name")
    if not file.parent.is_dir():
        raise Mistake(f"{file}: there is no folder {file.parent}; make it first")
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(TEXT.format(file=file, name=called))
    except FileExistsError:
        raise Mistake(f"{file}: is there already and stays as it is; choose another name") from None
    return file
