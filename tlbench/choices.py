"""What the board says of rules of model selection: what each chose, and what is left of a gain when the reference was
chosen by the same rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tlbench import frame
from tlbench.frame import words
from tlbench.references import SOURCE_ONLY, TARGET_ONLY
from tlbench.row import DEFAULT
from tlbench.tables import markdown, number

if TYPE_CHECKING:
    import pandas as pd

ORACLE = "oracle_last"
PLACE = ["task", "method", "budget", "seed"]


def section(rows: pd.DataFrame) -> list[str]:
    """Lines of the board, of `frame.load`'s rows; none where no rule chose anything."""
    import pandas as pd

    chosen = frame.chosen(rows)
    if not len(chosen):
        return []
    plain = frame.standing(rows)
    plain = plain[words(plain["status"]) == "ok"].merge(chosen[PLACE].drop_duplicates(), on=PLACE)
    both = pd.concat([chosen, plain])
    both = both.assign(**{name: words(both[name]) for name in ("task", "target", "suite", "method", "budget", "rule")})
    both["value"] = 100 * both["value"].astype(float)
    both["gain"] = both["value"] - _reference(both)
    said = (
        f"Every method and reference was run in {int(chosen['trials'].max())} trials, or in as many as its search has; "
        "a rule chose among them, `default` chose nothing, and all rules of a line chose on the same tasks and seeds. "
        "`oracle_last` looks at held-out labels of the target: it is never ranked."
    )
    read = (
        "Of each suite first the mean of the metric, and in brackets what the rule loses against the oracle's; then "
        "the mean gain over the reference **chosen by the same rule** (where the rule cannot be asked of it, over its "
        "default), for a gain over a reference that nobody tuned may be what tuning gives to anybody."
    )
    lines = ["## Selection", "", said, "", read, ""]
    for suite, own in both.groupby("suite"):
        tasks = ", ".join(sorted(set(own["task"][words(own["sources"]) != ""])))
        lines += [f"### Selection: {suite}", "", f"{tasks}.", "", _accuracies(own), "", _gains(own), ""]
    return lines


def _reference(rows: pd.DataFrame) -> pd.Series:
    """The value of each row's reference: of its seed and rule, else of its default; NaN where there is none."""
    import pandas as pd

    names = rows["budget"].map(lambda k: SOURCE_ONLY if k == "0" else TARGET_ONLY)
    place = rows["task"].where(rows["budget"] == "0", rows["suite"] + "/" + rows["target"])
    held = rows[rows["method"].isin([SOURCE_ONLY, TARGET_ONLY])]
    known = dict(zip(zip(*(held[c] for c in (*PLACE, "rule")), strict=True), held["value"], strict=True))
    keys = zip(place, names, rows["budget"], rows["seed"], rows["rule"], strict=True)
    found = [known.get(key, known.get((*key[:4], DEFAULT), float("nan"))) for key in keys]
    return pd.Series(found, index=rows.index)


def _wide(rows: pd.DataFrame, column: str) -> list[tuple[str, str, int, dict[str, float]]]:
    """Budget, method, task-seeds, and the mean by rule over those that every rule of the line chose on."""
    found = []
    for (k, method), own in rows.groupby(["budget", "method"]):
        wide = own.pivot_table(index=["task", "seed"], columns="rule", values=column).dropna()
        if len(wide):
            found.append((str(k), str(method), len(wide), {str(r): float(v) for r, v in wide.mean().items()}))
    return found


def _rules(rows: pd.DataFrame) -> list[str]:
    return sorted(set(rows["rule"]), key=lambda r: (r == ORACLE, r != DEFAULT, r))


def _accuracies(rows: pd.DataFrame) -> str:
    rules = _rules(rows)
    lines = [[method, k, str(n), *_beside_the_oracle(mean, rules)] for k, method, n, mean in _wide(rows, "value")]
    return markdown(["method", "k", "task-seeds", *rules], lines, left=1)


def _beside_the_oracle(mean: dict[str, float], rules: Sequence[str]) -> list[str]:
    gap = {r: f" ({mean[ORACLE] - v:.1f})" for r, v in mean.items() if ORACLE in mean and r != ORACLE}
    return [number(mean.get(r)) + gap.get(r, "") for r in rules]


def _gains(rows: pd.DataFrame) -> str:
    """The methods' gains, and their mean where every one of a budget has the rule."""
    rules, lines = _rules(rows), []
    found = [x for x in _wide(rows, "gain") if x[1] != (SOURCE_ONLY if x[0] == "0" else TARGET_ONLY)]
    for k in sorted({x[0] for x in found}):
        own = [x for x in found if x[0] == k]
        lines += [[m, k, str(n), *(number(mean.get(r), sign=True) for r in rules)] for _, m, n, mean in own]
        means = [
            number(sum(x[3][r] for x in own) / len(own), sign=True) if all(r in x[3] for x in own) else "–"
            for r in rules
        ]
        lines.append([f"mean of {len(own)}", k, "", *means])
    return markdown(["method", "k", "task-seeds", *rules], lines, left=1)
