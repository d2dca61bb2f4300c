"""From rows to answers, without running anything."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tlbench.cli.app import AsJson, DataRoot, InEdition, Results, app, edition_app
from tlbench.errors import UsageError


@app.command()
def pack(results: Results = None) -> None:
    """Move the store's rows into a packed segment: a tenth of the room, and what one commits."""
    from tlbench.cli.commands import run

    run.pack(results)


@app.command()
def leaderboard(
    results: Results = None,
    file: Annotated[Path | None, typer.Option(help="[default: leaderboard.md beside the store]")] = None,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit 1 if it would change.")] = False,
    with_: Annotated[
        list[Path] | None,
        typer.Option("--with", help="Preview it with this bundle, on stdout or in --file; repeatable."),
    ] = None,
    edition: InEdition = None,
) -> None:
    """Rebuild leaderboard.md between its two markers from an edition's rows."""
    from tlbench.cli.commands import run

    if with_:
        from tlbench.cli.commands import submissions

        raise SystemExit(submissions.preview(with_, results, file, edition))
    raise SystemExit(run.leaderboard(results, file, check, edition))


@app.command()
def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="A method.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another.")],
    task: Annotated[
        list[str] | None,
        typer.Option("--task", "-t", "--suite", help="A task or a suite; repeatable [default: all that both have]."),
    ] = None,
    budget: Annotated[str | None, typer.Option(help="Labels per class [default: each that both have].")] = None,
    results: Results = None,
    edition: InEdition = None,
    as_json: AsJson = False,
) -> None:
    """Two methods on the cells that both have: differences with intervals, and a verdict."""
    from tlbench.cli.commands import questions

    questions.compare(first, second, task or [], budget, results, as_json, edition)


@app.command()
def explain(
    method: Annotated[str, typer.Argument(help="A method.")],
    task: Annotated[str, typer.Argument(help="A task, as digits/fonts-photos.")],
    budget: Annotated[str, typer.Argument(help="Labels per class.")],
    rule: Annotated[str, typer.Option(help="What it chose, of the board's table of selection.")] = "default",
    curve: Annotated[
        Path | None, typer.Option(help="Train one seed of it again, and draw its losses by step into this SVG file.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of --curve [default: 0].")] = None,
    data_root: DataRoot = None,
    sandbox: Annotated[str | None, typer.Option(help="Of --curve, as of `tlbench run` [default: auto].")] = None,
    results: Results = None,
    edition: InEdition = None,
    as_json: AsJson = False,
) -> None:
    """The rows behind a cell of the board, and the command that makes them again; or the losses of a fit of it."""
    from tlbench.cli.commands import curves, questions

    if curve is not None:
        cell = curves.Wanted(method, task, questions.one_budget(budget), seed or 0, rule, edition)
        raise SystemExit(curves.curve(cell, curve, results, data_root, sandbox or "auto", as_json))
    for name, given in (("--seed", seed), ("--data-root", data_root), ("--sandbox", sandbox)):
        if given is not None:
            raise UsageError(f"{name} belongs to --curve FILE.svg, which trains one seed again")
    questions.explain(method, task, budget, rule, results, as_json, edition)


@app.command()
def recommend(
    task: Annotated[str, typer.Option("--task", "-t", help="A task, or a card's path.")],
    budget: Annotated[str, typer.Option(help="Labels per class that you have.")],
    data_root: DataRoot = None,
    results: Results = None,
    edition: InEdition = None,
    as_json: AsJson = False,
) -> None:
    """What to use on a task, from the board's tasks most like it; and what is likely to do harm."""
    from tlbench.cli.commands import questions

    questions.recommend(task, budget, results, data_root, as_json, edition)


@edition_app.command("list")
def editions(results: Results = None, as_json: AsJson = False) -> None:
    """The editions of a store: rows, methods, tasks, dates."""
    from tlbench.cli.commands import run

    run.editions_of(results, as_json)


@edition_app.command()
def freeze(
    name: Annotated[str, typer.Argument(help="Year and month, as 2027.03.")],
    results: Results = None,
) -> None:
    """Freeze the open edition: its packed rows, timings and submissions, with all that its board rests on."""
    from tlbench.cli.commands import run

    run.freeze(name, results)


@edition_app.command()
def changes(
    old: Annotated[str, typer.Argument(help="An edition.")],
    new: Annotated[str, typer.Argument(help="A later one, or 'open'.")],
    results: Results = None,
    file: Annotated[Path | None, typer.Option(help="Write it there [default: print it].")] = None,
) -> None:
    """What changed from one edition to another, method by method, and why."""
    from tlbench.cli.commands import run

    run.changes(old, new, results, file)
