"""The losses of one fit, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tlbench.board.figures import svg
from tlbench.board.figures.charts import STROKES
from tlbench.training.watching import Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINTS = 150  # of a line; more steps than that are gathered, each point the mean of some that follow each other
LOG_FROM = 20.0  # times the smallest point of a picture that its largest is, where the axis is logarithmic

Array = NDArray[np.float64]


def gathered(at: Array, values: Array, loops: Sequence[int] = (), points: int = POINTS) -> tuple[Array, ...]:
    """Some `points` or fewer in all: their steps, means, least and greatest values; not finite where a value is not.

    Args:
        loops: where loops begin: no point is of two, and one that is not a number parts them
    """
    per, parts = max(1, -(-len(at) // points)), list[list[float]]()
    for own in np.split(np.arange(len(at)), np.searchsorted(at, sorted(loops))):
        if len(own) and parts:
            parts.append([np.nan] * 4)
        for p in np.array_split(own, -(-len(own) // per)) if len(own) else ():
            parts.append([at[p].mean(), values[p].mean(), values[p].min(), values[p].max()])
    return tuple(np.array(parts).T)


def logarithmic(means: Array) -> bool:
    """Whether the means of all losses are positive, and so far apart that a linear axis would hide the small ones."""
    finite = means[np.isfinite(means)]
    return bool(len(finite) and finite.min() > 0 and finite.max() >= LOG_FROM * finite.min())


def losses(curve: Curve, title: str, file: Path) -> Path:
    """A line a loss. Where a point stands for several steps the line is their mean, and its shade their range."""
    import matplotlib.pyplot as plt
    import seaborn as sns

    names = list(curve.losses)
    with np.errstate(invalid="ignore", over="ignore"):
        lines = [gathered(np.array(curve.at[n], float), np.array(curve.losses[n], float), curve.loops) for n in names]
    log = logarithmic(np.concatenate([mean for _, mean, _, _ in lines]))
    with svg.drawing():
        figure, axes = plt.subplots(figsize=(6.0, 3.2))
        for i, (name, colour) in enumerate(zip(names, sns.color_palette("colorblind", len(names)), strict=True)):
            _line(axes, _said(curve, name), lines[i], colour, STROKES[i % len(STROKES)], log)
        for place in curve.loops[1:]:
            axes.axvline(place - 0.5, color=svg.INK, linewidth=0.6, linestyle=":")
        if log:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
        axes.set_xlim(-0.5, max(0.5, len(curve.steps) - 0.5))
        axes.grid(axis="y")
        axes.set(xlabel=_across(curve), ylabel="loss (logarithmic)" if log else "loss")
        axes.set_title(title, loc="left")
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        return svg.save(figure, file, title)


def _line(axes: Axes, said: str, drawn: tuple[Array, ...], colour: Any, stroke: Any, log: bool) -> None:
    at, mean, low, high = drawn
    alone = "." if np.isfinite(mean).sum() == 1 else None  # a line of one point is none
    there = np.where(np.isfinite(mean), mean, np.nan)
    axes.plot(at, there, color=colour, linestyle=stroke, marker=alone, linewidth=1, label=said)
    if (high > low).any():
        least = np.maximum(low, 0.5 * mean) if log else low  # one step near nought would take the whole axis
        axes.fill_between(at, least, high, where=np.isfinite(high - least), color=colour, alpha=0.18, linewidth=0)


def _said(curve: Curve, name: str) -> str:
    """A loss in the legend, with the first step at which it is no number."""
    lost = next((i for i, v in zip(curve.at[name], curve.losses[name], strict=True) if not np.isfinite(v)), None)
    return name if lost is None else f"{name} (not finite from step {lost} on)"


def _across(curve: Curve) -> str:
    """What the axis of steps is called."""
    loops, longest = len(curve.loops), max((len(places) for places in curve.at.values()), default=0)
    notes = ["dotted: where the next of the loops begins"] if loops > 1 else []
    if longest > POINTS:
        notes.append(f"line: means of up to {-(-longest // POINTS)} steps, shade: their range")
    return f"step ({'; '.join(notes)})" if notes else "step"
