"""What rules of model selection chose, beside the defaults on the same tasks and seeds, and what that gains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tlbench.board.columns import interval
from tlbench.board.tables import markdown
from tlbench.methods import references
from tlbench.methods.references import SOURCE_ONLY
from tlbench.results import frame
from tlbench.results.editions import Edition
from tlbench.results.frame import words
from tlbench.results.rounding import fixed, settled
from tlbench.results.row import DEFAULT, ORACLES
from tlbench.results.stats import Estimate, over_seeds

if TYPE_CHECKING:
    import pandas as pd

ORACLE = f"{ORACLES}last"  # what other rules are compared with
PLACE = ["task", "method", "budget", "seed"]


def selection(both: pd.DataFrame) -> list[str]:
    """Lines of the board, of `valued` rows; none where no rule chose anything."""
    if not len(both):
        return []
    said = (
        f"Every method and baseline was run in {int(both['trials'].max())} trials, or in as many as its search space "
        "has. A rule chose among them; `default` uses the published hyperparameters. All rules of a line chose on the "
        "same tasks and seeds. `oracle_last` sees held-out target labels and is never ranked; `lodo` is "
        "leave-one-dataset-out."
    )
    read = (
        "For each suite, the first table has the mean of the metric, with the loss against the oracle in brackets; the "
        "second has the mean gain over the baseline **chosen by the same rule** (over its default where the rule does "
        "not apply to it), because a gain over an untuned baseline may be the effect of tuning alone. ± is a 95 % "
        "interval over seeds."
    )
    lines = [said, "", read, ""]
    for suite, own in both.groupby("suite"):
        tasks = ", ".join(sorted(set(own["task"][words(own["sources"]) != ""])))
        lines += [f"### Selection: {suite}", "", f"{tasks}.", "", _accuracies(own), "", _gains(own), ""]
    return lines


def short(both: pd.DataFrame) -> str:
    """In a sentence of `valued` rows, how much of the gains is left where a rule chose; empty where none did."""
    said = []
    for suite, own in both.groupby("suite") if len(both) else []:
        rules = [r for r in _rules(own) if r != DEFAULT and not r.startswith(ORACLES)]
        for k, held in _beside_the_reference(own).items():
            tables = list(held.values())
            there = [r for r in (DEFAULT, *rules) if all(r in wide for wide in tables)]
            means = {r: _mean(tables, r).mean for r in there}
            plain, chosen = means.pop(DEFAULT, float("nan")), sorted(means, key=lambda r: (settled(means[r]), r))
            if chosen:
                low, high = ((r, fixed(means[r], sign=True)) for r in (chosen[0], chosen[-1]))
                at = f"{fixed(plain, sign=True)} at the defaults on {suite} at k = {k}"
                said.append(f"{at}, and from {low[1]} ({low[0]}) to {high[1]} ({high[0]}) by the rules")
    if not said:
        return ""
    return (
        f'Hyperparameters matter as much as methods do ("Selection"): the mean gain of the same few methods over a '
        f"baseline chosen by the same rule is {'; '.join(said)}."
    )


def valued(rows: pd.DataFrame, standing: pd.DataFrame, edition: Edition = frame.OPEN) -> pd.DataFrame:
    """The rows that rules chose, and beside them those of the defaults on the same places, with their gains in points;
    no rows where no rule chose anything.

    Args:
        rows: of `frame.load`
        standing: of these, `frame.standing`
    """
    import pandas as pd

    chosen: pd.DataFrame = frame.chosen(rows, edition)
    if not len(chosen):
        return chosen
    plain = standing[words(standing["status"]) == "ok"].merge(chosen[PLACE].drop_duplicates(), on=PLACE)
    both = pd.concat([chosen, plain])
    both = both.assign(**{name: words(both[name]) for name in ("task", "target", "suite", "method", "budget", "rule")})
    both["value"] = 100 * both["value"].astype(float)
    found: pd.DataFrame = both.assign(gain=both["value"] - _reference(both))
    return found


def _reference(rows: pd.DataFrame) -> pd.Series:
    """The value of each row's reference: of its seed and rule, else of its default; NaN where there is none."""
    import pandas as pd

    names = rows["budget"].map(references.of)
    place = rows["task"].where(names == SOURCE_ONLY, rows["suite"] + "/" + rows["target"])
    held = rows[rows["method"].isin(references.REFERENCES)]
    known = dict(zip(zip(*(held[c] for c in (*PLACE, "rule")), strict=True), held["value"], strict=True))
    keys = zip(place, names, rows["budget"], rows["seed"], rows["rule"], strict=True)
    found = [known.get(key, known.get((*key[:4], DEFAULT), float("nan"))) for key in keys]
    return pd.Series(found, index=rows.index)


def _wide(rows: pd.DataFrame, column: str) -> list[tuple[str, str, pd.DataFrame]]:
    """Budget, method, and the values (tasks and seeds, rules) where every rule of the line chose."""
    found = []
    for (k, method), own in rows.groupby(["budget", "method"]):
        wide = own.pivot_table(index=["task", "seed"], columns="rule", values=column).dropna()
        if len(wide):
            found.append((str(k), str(method), wide))
    return found


def _over_seeds(values: pd.Series) -> Estimate:
    """The mean over tasks and seeds of one rule's values, for new seeds."""
    by_seed = values.groupby("seed").mean()
    return replace(over_seeds([by_seed.tolist()]), mean=float(values.mean()))


def _rules(rows: pd.DataFrame) -> list[str]:
    return sorted(set(rows["rule"]), key=lambda r: (r.startswith(ORACLES), r != DEFAULT, r))


def _accuracies(rows: pd.DataFrame) -> str:
    rules, lines = _rules(rows), []
    for k, method, wide in _wide(rows, "value"):
        means = {str(rule): float(mean) for rule, mean in wide.mean().items()}
        lines.append([method, k, str(len(wide)), *_beside_the_oracle(means, rules)])
    return markdown(["method", "k", "task-seeds", *rules], lines, left=1)


def _beside_the_oracle(mean: dict[str, float], rules: Sequence[str]) -> list[str]:
    gap = {r: f" ({fixed(mean[ORACLE] - v)})" for r, v in mean.items() if ORACLE in mean and r != ORACLE}
    return [fixed(mean.get(r)) + gap.get(r, "") for r in rules]


def _gains(rows: pd.DataFrame) -> str:
    """The methods' gains, and their mean where every one of a budget has the rule."""
    rules, lines = _rules(rows), []
    for k, own in _beside_the_reference(rows).items():
        lines += [[name, k, str(len(wide)), *(_gain([wide], r) for r in rules)] for name, wide in own.items()]
        lines.append([f"mean of {len(own)}", k, "", *(_gain(list(own.values()), r) for r in rules)])
    return markdown(["method", "k", "task-seeds", *rules], lines, left=1)


def _beside_the_reference(rows: pd.DataFrame) -> dict[str, dict[str, pd.DataFrame]]:
    """Budget -> method, the reference of that budget left out -> its gains (tasks and seeds, rules)."""
    found: dict[str, dict[str, pd.DataFrame]] = {}
    for k, method, wide in _wide(rows, "gain"):
        if method != references.of(k):
            found.setdefault(k, {})[method] = wide
    return found


def _gain(tables: Sequence[pd.DataFrame], rule: str) -> str:
    """Of the methods' mean where every one has the rule."""
    if not all(rule in wide for wide in tables):
        return fixed(None)
    return interval(_mean(tables, rule))


def _mean(tables: Sequence[pd.DataFrame], rule: str) -> Estimate:
    import pandas as pd

    return _over_seeds(pd.concat([wide[rule] for wide in tables], axis=1).mean(axis=1))
