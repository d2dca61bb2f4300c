"""Running cells: here, timed, elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tlbench.cli.app import AsJson, DataRoot, Results, Sandbox, app
from tlbench.errors import UsageError


@app.command()
def run(
    task: Annotated[
        list[str] | None, typer.Option("--task", "-t", help="A task, a suite, or a card's path; repeatable.")
    ] = None,
    method: Annotated[
        list[str] | None, typer.Option("--method", "-m", help="A method, or all that ship: 'all'; repeatable.")
    ] = None,
    grid: Annotated[
        str | None, typer.Option(help="A grid's tasks, budgets and seeds: 'core' is what the board ranks on.")
    ] = None,
    budgets: Annotated[str | None, typer.Option(help="Labels per class, as 0,1,5,20 or full.")] = None,
    seeds: Annotated[str | None, typer.Option(help="As 0-4 or 0,3,7.")] = None,
    full: Annotated[bool, typer.Option("--full", help="The card's core budgets and all its seeds.")] = False,
    set_: Annotated[list[str] | None, typer.Option("--set", help="A hyperparameter, as steps=500; repeatable.")] = None,
    rule: Annotated[
        list[str] | None, typer.Option("--rule", help="Choose hyperparameters so; repeatable; see `list rules`.")
    ] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="To choose from [default: 8; 20 for a method without gradient steps].")
    ] = None,
    backbone: Annotated[str | None, typer.Option(help="Instead of the card's; see `list backbones`.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")] = "auto",
    amp: Annotated[bool, typer.Option("--amp", help="Mixed precision (bfloat16); its rows are on no board.")] = False,
    bf16_features: Annotated[
        bool, typer.Option("--bf16-features", help="Frozen features in bfloat16; its rows are on no board.")
    ] = False,
    jobs: Annotated[int | None, typer.Option(min=1, help="Cells at a time [default: one a core].")] = None,
    time_limit: Annotated[float, typer.Option(min=0.1, help="Seconds a cell may take.")] = 3600.0,
    memory_limit: Annotated[
        int | None, typer.Option(min=64, help="MiB a cell may take [default: 80 % of memory, shared by the jobs].")
    ] = None,
    data_root: DataRoot = None,
    results: Results = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run failed cells again.")] = False,
    changed_data: Annotated[
        bool, typer.Option("--changed-data", help="Accept data that differ from the board's.")
    ] = False,
    sandbox: Sandbox = "auto",
    on: Annotated[
        str, typer.Option(help="Where cells run: local, or fresh (a new Python process a cell, to debug).")
    ] = "local",
    plan_only: Annotated[Path | None, typer.Option(help="Write the cells still to run to this file and stop.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would take, and run nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run methods on tasks, and the references they are judged by; print the table."""
    from tlbench.cli.commands import arguments, run
    from tlbench.runner.experiment import Options
    from tlbench.runner.plan import Request

    request = Request(
        tuple(task or ()),
        arguments.methods(method or []),
        arguments.budgets(budgets),
        arguments.seeds(seeds),
        arguments.settings(set_ or []),
        full,
        tuple(dict.fromkeys(rule or ["default"])),
        trials,
        grid,
        arguments.ALL in (method or []),
    )
    if not (request.tasks or grid) or not request.methods:
        raise UsageError("run: name a --task (or --grid core) and a --method; `tlbench list` names them")
    options = Options(
        results, data_root, backbone, device, jobs, time_limit, memory_limit, retry_failed, changed_data, amp,
        bf16_features, sandbox, on=on,
    )  # fmt: skip
    if dry_run:
        run.forecast(request, options, as_json)
    elif plan_only is not None:
        run.plan(request, options, plan_only)
    else:
        raise SystemExit(run.run(request, options, as_json))


@app.command()
def profile(
    task: Annotated[list[str], typer.Option("--task", "-t", help="A task, a suite, or a card's path; repeatable.")],
    method: Annotated[list[str], typer.Option("--method", "-m", help="A method, or 'all'; repeatable.")],
    budgets: Annotated[str | None, typer.Option(help="Labels per class, as 0,1,5,20 or full.")] = None,
    seeds: Annotated[str, typer.Option(help="The repeats.")] = "0-2",
    set_: Annotated[list[str] | None, typer.Option("--set", help="A hyperparameter, as steps=500; repeatable.")] = None,
    backbone: Annotated[str | None, typer.Option(help="Instead of the card's; see `list backbones`.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")] = "auto",
    amp: Annotated[bool, typer.Option("--amp", help="Mixed precision (bfloat16); its rows are on no board.")] = False,
    bf16_features: Annotated[
        bool, typer.Option("--bf16-features", help="Frozen features in bfloat16; its rows are on no board.")
    ] = False,
    threads: Annotated[int, typer.Option(min=1, help="Threads a cell computes with.")] = 1,
    time_limit: Annotated[float, typer.Option(min=0.1, help="Seconds a cell may take.")] = 3600.0,
    memory_limit: Annotated[int | None, typer.Option(min=64, help="MiB a cell may take.")] = None,
    data_root: DataRoot = None,
    results: Results = None,
    changed_data: Annotated[
        bool, typer.Option("--changed-data", help="Accept data that differ from the board's.")
    ] = False,
    sandbox: Sandbox = "auto",
    as_json: AsJson = False,
) -> None:
    """Time methods and their references one cell at a time, on a machine that is measured before and after."""
    from tlbench.cli.commands import arguments, timing
    from tlbench.runner.experiment import Options
    from tlbench.runner.plan import Request

    request = Request(
        tuple(task), arguments.methods(method), arguments.budgets(budgets), arguments.seeds(seeds),
        arguments.settings(set_ or []), every=arguments.ALL in method,
    )  # fmt: skip
    options = Options(
        results,
        data_root,
        backbone,
        device,
        1,
        time_limit,
        memory_limit,
        False,
        changed_data,
        amp,
        bf16_features,
        sandbox,
    )
    raise SystemExit(timing.time(request, options, threads, as_json))


@app.command()
def calibrate(
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="Threads to measure with.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Measure this machine by matrix products, convolutions, memory and short training loops; about a minute."""
    from tlbench.cli.commands import timing

    timing.calibrate(device, threads, as_json)


@app.command()
def answers(
    method: Annotated[list[str] | None, typer.Argument(help="Methods that ship [default: all].")] = None,
    check: Annotated[bool, typer.Option("--check", help="Exit 1 where answers moved without a new version.")] = False,
    update: Annotated[
        str | None, typer.Option(metavar="WHY", help="Record the answers; what moved gets a new version, for WHY.")
    ] = None,
) -> None:
    """Do shipped methods answer small fixed sets as recorded? What moved needs a new version."""
    from tlbench.cli.commands import run
    from tlbench.errors import UsageError

    if check == (update is not None):
        raise UsageError("answers: say either --check or --update WHY")
    raise SystemExit(run.answers(method or [], update))


@app.command()
def worker(
    plan: Annotated[Path, typer.Option(help="A file written by `run --plan-only`.")],
    index: Annotated[int, typer.Option(min=0, help="Which of its cells, from 0.")],
    results: Results = None,
    sandbox: Sandbox = "auto",
) -> None:
    """Run one cell of a plan and write its row to a shard of its own: what a cluster's scheduler calls."""
    from tlbench.cli.commands import run

    raise SystemExit(run.worker(plan, index, results, sandbox))


@app.command()
def collect(results: Results = None) -> None:
    """Fold the shards that workers wrote into the store."""
    from tlbench.cli.commands import run

    run.collect(results)


@app.command()
def reproduce(
    names: Annotated[
        list[str] | None, typer.Argument(help="Published tables [default: all that a processor can run].")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Try another setting, as steps=50; not in the document.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")] = "auto",
    jobs: Annotated[int | None, typer.Option(min=1, help="Cells at a time [default: one a core].")] = None,
    time_limit: Annotated[float, typer.Option(min=0.1, help="Seconds a cell may take.")] = 86400.0,
    memory_limit: Annotated[int | None, typer.Option(min=64, help="MiB a cell may take.")] = None,
    data_root: DataRoot = None,
    results: Results = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run failed cells again.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Run nothing; exit 1 if the document would change.")] = False,
) -> None:
    """Run published tables under their own protocols; write published against ours to docs/reproduction.md."""
    from tlbench.cli.commands import run
    from tlbench.runner.experiment import Options

    options = Options(results, data_root, None, device, jobs, time_limit, memory_limit, retry_failed)
    raise SystemExit(run.reproduce(names or [], options, set_ or [], check))


@app.command()
def selftest(
    suites: Annotated[list[str] | None, typer.Argument(help="Calibration suites [default: all].")] = None,
    methods: Annotated[bool, typer.Option("--methods", help="Hold the methods that ship against the theory.")] = False,
    jobs: Annotated[int | None, typer.Option(min=1, help="Cells at a time [default: one a core].")] = None,
    verbose: Annotated[bool, typer.Option("--all", help="Print every demand, not only one line a suite.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run the tasks with known truth and print predicted against measured; exit 1 when a demand does not hold."""
    from tlbench.cli.commands import run

    raise SystemExit(run.selftest(suites or [], methods, jobs, verbose, as_json))
