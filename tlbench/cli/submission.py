"""A method of one's own: checked, submitted, verified."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tlbench.cli.app import AsJson, DataRoot, Results, app


@app.command()
def check(
    method: Annotated[str, typer.Argument(help="A method: its name, package.module:Class or file.py:Class.")],
    task: Annotated[
        list[str] | None, typer.Option("--task", "-t", help="On this task, instead of all without a download.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="Run only this check; repeatable.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Run no task.")] = False,
    set_: Annotated[list[str] | None, typer.Option("--set", help="A hyperparameter, as steps=500; repeatable.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Cells at a time [default: one a core].")] = None,
    as_json: AsJson = False,
) -> None:
    """Check that a method keeps the contract; exit 1 if a check fails."""
    from tlbench.cli.commands import arguments
    from tlbench.verification import contract

    settings = arguments.settings(set_ or [])
    found = contract.check_method(method, settings, task or [], only or [], quick, jobs)
    raise SystemExit(contract.show_findings(found, method, as_json))


@app.command()
def submit(
    method: Annotated[str, typer.Argument(help="Of yours: file.py:Class, or an installed one's name.")],
    tasks: Annotated[list[str], typer.Option("--tasks", "-t", help="A suite, or the grid 'core'; repeatable.")],
    budgets: Annotated[str | None, typer.Option(help="[default: the grid's, or the cards' core budgets]")] = None,
    seeds: Annotated[str | None, typer.Option(help="[default: all of the grid or card]")] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Leave cells out, and say so in the bundle.")] = False,
    name: Annotated[str | None, typer.Option(help="Of the bundle [default: the method's].")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where its folder is made [default: submissions/ of the store].")
    ] = None,
    supersedes: Annotated[Path | None, typer.Option(help="An earlier bundle whose rows are to count no more.")] = None,
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    edition: Annotated[str, typer.Option("--edition", help="That it is for: 'open', or a frozen one.")] = "open",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")] = "auto",
    jobs: Annotated[int | None, typer.Option(min=1, help="Cells at a time [default: one a core].")] = None,
    time_limit: Annotated[float, typer.Option(min=0.1, help="Seconds a cell may take.")] = 3600.0,
    memory_limit: Annotated[int | None, typer.Option(min=64, help="MiB a cell may take.")] = None,
    data_root: DataRoot = None,
    results: Results = None,
) -> None:
    """Run what lacks of a method's grid and write it as a bundle for a pull request: docs/submit.md."""
    from tlbench.cli.commands import arguments, submissions
    from tlbench.results import editions
    from tlbench.results.store import default_folder
    from tlbench.runner.experiment import Options
    from tlbench.verification.submissions.submit import Submission

    options = Options(results, data_root, None, device, jobs, time_limit, memory_limit)
    chosen = editions.named(results or default_folder(), edition)
    wanted = Submission(
        method, tuple(tasks), arguments.budgets(budgets), arguments.seeds(seeds), partial, name, out,
        submissions.words_of("submit", sys.argv[1:]), supersedes, reason, options, chosen,
    )  # fmt: skip
    submissions.submit(wanted)


@app.command(name="verify")
def verify_bundle(
    folder: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A folder that `tlbench submit` wrote.")],
    sample: Annotated[int, typer.Option(min=0, help="Cells to run again, drawn at random.")] = 6,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the draw [default: nobody can foretell it].")] = None,
    record: Annotated[bool, typer.Option("--record", help="Write the verdict into the bundle's folder.")] = False,
    time_limit: Annotated[float, typer.Option(min=0.1, help="Seconds a cell may take.")] = 3600.0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")] = "auto",
    data_root: DataRoot = None,
    results: Results = None,
    as_json: AsJson = False,
) -> None:
    """Check a bundle; exit 0 accept, 1 reject, 3 question: docs/submit.md has every rule."""
    from tlbench.cli.commands import submissions
    from tlbench.runner.experiment import Options

    options = Options(results, data_root, None, device, 1, time_limit)
    raise SystemExit(submissions.verify(folder, options, sample, seed, record, as_json))


@app.command()
def guard(
    base: Annotated[str, typer.Argument(help="The commit that a pull request starts from, as origin/main.")],
    head: Annotated[str, typer.Option(help="Its last commit.")] = "HEAD",
    results: Results = None,
) -> None:
    """Refuse what a pull request may not change: others' rows and bundles; exit 0 accept, 1 reject, 3 question."""
    from tlbench.cli.commands import submissions

    raise SystemExit(submissions.guard(base, head, results))
