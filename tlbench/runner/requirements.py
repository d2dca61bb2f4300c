"""What a method or a task needs and does not have: refused before anything is run."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from tlbench.errors import Mistake
from tlbench.methods.method import Description
from tlbench.results.row import DEFAULT
from tlbench.runner.cell import Cell, Conditions
from tlbench.runner.cell_job import Bench
from tlbench.runner.inputs import native_bf16
from tlbench.runner.worker.local import Workers
from tlbench.tasks.card import Card, Task
from tlbench.tasks.datasets import pretrained
from tlbench.tasks.place import IMAGE_LOADERS


def refusal(c: Cell) -> str | None:
    """Why the method does not fit the cell, where that is known beforehand."""
    name, task, card = c.method.name, c.task.name, c.task.card
    if card.regime not in c.method.regimes:
        return f"{name} does {' and '.join(c.method.regimes)}; {task} is {card.regime}"
    if "same task" in c.method.needs and not card.same_task:
        return f"{name} needs sources whose labels are the target's; those of {task} are not"
    if card.regime != "episodes" and c.budget == 0 and not card.same_task:
        return f"{task} has another task than its sources; at budget 0 no label says which"
    if "sources" in c.method.needs and c.task.sources and not c.task.sampled:
        return f"{name} needs samples of a source; that of {task} is a checkpoint"
    if "shots" in c.method.needs and c.budget == 0:
        return f"{name} needs labelled target samples; budget 0 has none"
    if "sources" in c.method.needs and not c.task.sources:
        return f"{name} needs a source; {task} has none"
    return None


def check_extra(c: Card) -> None:
    """Raises:
    Mistake: the library that measures the card's regime is not installed.
    """
    lacking = [m for m in ("torchmetrics", "pycocotools") if c.regime == "detection" and find_spec(m) is None]
    if lacking:
        raise Mistake(f"{c.name}: measuring boxes needs {' and '.join(lacking)}; run: pip install 'tlbench[detect]'")


def lacks(method: Description) -> str | None:
    """What to install before a method can run."""
    lacking = [m for m in method.requires if find_spec(m.partition(".")[0]) is None]
    cure = f"; run: pip install 'tlbench[{method.extra}]'" if method.extra else ""
    return f"method {method.name}: needs {' and '.join(lacking)}{cure}" if lacking else None


def check_backbone(named: str | None, card: Card) -> None:
    """Raises:
    Mistake: `--backbone` names what this card's data cannot go through.
    """
    if named is None:
        return
    takes = "texts" if card.text_encoded else "images" if card.loader in IMAGE_LOADERS else None
    if takes is None:
        raise Mistake(f"--backbone {named}: {card.name} has no images of a size to put through it; leave it out")
    if named not in pretrained.BUILT_IN and pretrained.read(named).takes != takes:
        raise Mistake(f"--backbone {named}: takes {pretrained.read(named).takes}, {card.name} has {takes}")
    if named in pretrained.BUILT_IN and (takes == "images" or named != "hashed"):
        raise Mistake(f"--backbone {named}: {card.name} needs a pretrained network; see `tlbench list backbones`")


def check_rules(rules: Sequence[str], conditions: Conditions) -> None:
    """Raises:
    Mistake: a choice among trials is to be made in another arithmetic than the board's. A choice's row is of no
        published settings anyway, so that nothing in it would keep it off the board.
    """
    option = "--amp" if conditions.amp else "--bf16-features" if conditions.features == "bf16" else None
    chosen = [name for name in rules if name != DEFAULT]
    if option and chosen:
        raise Mistake(f"--rule {chosen[0]}: rows of {option} are on no board, and those of a choice are; leave one out")


def check_bf16(bench: Bench, tasks: Sequence[Task], workers: Workers) -> list[str]:
    """What to tell of bfloat16 features that a command declares.

    Raises:
        Mistake: the device cannot compute in bfloat16.
    """
    device, cards = bench.conditions.device, dict.fromkeys(t.card for t in tasks)
    if bench.conditions.features != "bf16":
        return []
    without = [c.name for c in cards if not bench.bf16_features(c)]
    notes = []
    if without:
        notes.append(
            f"--bf16-features changes nothing for {', '.join(without)}: no image there goes through a frozen network"
        )
    if len(without) == len(cards):
        return notes
    report = workers.ask({"kind": "bf16", "device": device})
    if report["status"] != "ok":
        raise Mistake(f"--bf16-features: {device} cannot compute in bfloat16 ({report['reason']}); leave it out")
    if device == "cpu" and not native_bf16():
        notes.append("--bf16-features: this processor has no instructions for bfloat16, so that it is slow here")
    return notes
