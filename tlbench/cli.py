"""The command line: thin. Torch is never imported here, and nothing slow before a command needs it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tlbench.mistake import Mistake

app = typer.Typer(
    help="Measure transfer-learning methods: accuracy, harm, time and memory under one protocol.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(help="Fetch, find and check datasets and weights.", no_args_is_help=True, rich_markup_mode=None)
new_app = typer.Typer(help="Start a task or a method of your own.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(data_app, name="data")
app.add_typer(new_app, name="new")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
Results = Annotated[Path | None, typer.Option("--results", help="The store [default: results/ of the checkout].")]
Jail = Annotated[str, typer.Option(help="How far methods are confined: auto, 0, 1 or 2; see docs/security.md.")]
DataRoot = Annotated[Path | None, typer.Option("--data-root", help="Where the data is, before TLBENCH_DATA.")]


def main() -> None:
    """Run the command line; a user's mistake is one line and exit code 2, Ctrl-C is 130."""
    try:
        code = app(standalone_mode=False)
    except KeyboardInterrupt:
        code = 130
    except Exception as error:
        said = _one_line(error)
        if said is None:
            raise
        if said:  # else the help was printed
            print(f"tlbench: {said}", file=sys.stderr)
        code = 2
    if code == 130:
        print("tlbench: stopped; what was finished is stored, the same command goes on from here", file=sys.stderr)
    raise SystemExit(code)


def _one_line(error: Exception) -> str | None:
    """What to tell a user of an error that is theirs or the machine's; None for one that is ours."""
    if isinstance(error, Mistake):
        return str(error)
    if hasattr(error, "format_message"):  # typer's own, which it takes from click or from a copy of it
        said = " ".join(str(error.format_message()).split())
        return f"{said} (see --help)" if said else ""
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    return None


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
    jail: Jail = "auto",
    plan_only: Annotated[Path | None, typer.Option(help="Write the cells still to run to this file and stop.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would take, and run nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run methods on tasks, and the references they are judged by; print the table."""
    from tlbench import command
    from tlbench.api import Options
    from tlbench.plan import Request

    request = Request(
        tuple(task or ()),
        command.methods(method or []),
        command.budgets(budgets),
        command.seeds(seeds),
        command.settings(set_ or []),
        full,
        tuple(dict.fromkeys(rule or ["default"])),
        trials,
        grid,
        command.ALL in (method or []),
    )
    if not (request.tasks or grid) or not request.methods:
        raise Mistake("run: name a --task (or --grid core) and a --method; `tlbench list` names them")
    options = Options(
        results, data_root, backbone, device, jobs, time_limit, memory_limit, retry_failed, changed_data, amp, jail
    )
    if dry_run:
        command.forecast(request, options, as_json)
    elif plan_only is not None:
        command.plan(request, options, plan_only)
    else:
        raise SystemExit(command.run(request, options, as_json))


@app.command()
def check(
    method: Annotated[str, typer.Argument(help="A method: its name, package.module:Class or file.py:Class.")],
    task: Annotated[
        list[str] | None, typer.Option("--task", "-t", help="On this task, instead of all without a download.")
    ] = None,
    promise: Annotated[list[str] | None, typer.Option(help="Only this promise; repeatable.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="The promises alone, and no task.")] = False,
    set_: Annotated[list[str] | None, typer.Option("--set", help="A hyperparameter, as steps=500; repeatable.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Cells at a time [default: one a core].")] = None,
    as_json: AsJson = False,
) -> None:
    """Hold a method to what every method promises; exit 1 when a promise is broken."""
    from tlbench import checkup, command

    settings = command.settings(set_ or [])
    found = checkup.check(method, settings, task or [], promise or [], quick, jobs)
    raise SystemExit(checkup.show(found, method, as_json))


@app.command()
def time(
    task: Annotated[list[str], typer.Option("--task", "-t", help="A task, a suite, or a card's path; repeatable.")],
    method: Annotated[list[str], typer.Option("--method", "-m", help="A method; repeatable.")],
    budgets: Annotated[str | None, typer.Option(help="Labels per class, as 0,1,5,20 or full.")] = None,
    seeds: Annotated[str, typer.Option(help="The repeats.")] = "0-2",
    set_: Annotated[list[str] | None, typer.Option("--set", help="A hyperparameter, as steps=500; repeatable.")] = None,
    backbone: Annotated[str | None, typer.Option(help="Instead of the card's; see `list backbones`.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")] = "auto",
    amp: Annotated[bool, typer.Option("--amp", help="Mixed precision (bfloat16); its rows are on no board.")] = False,
    threads: Annotated[int, typer.Option(min=1, help="Threads a cell computes with.")] = 1,
    time_limit: Annotated[float, typer.Option(min=0.1, help="Seconds a cell may take.")] = 3600.0,
    memory_limit: Annotated[int | None, typer.Option(min=64, help="MiB a cell may take.")] = None,
    data_root: DataRoot = None,
    results: Results = None,
    changed_data: Annotated[
        bool, typer.Option("--changed-data", help="Accept data that differ from the board's.")
    ] = False,
    jail: Jail = "auto",
    as_json: AsJson = False,
) -> None:
    """Time methods and their references one cell at a time, on a machine that is measured before and after."""
    from tlbench import clock, command
    from tlbench.api import Options
    from tlbench.plan import Request

    request = Request(
        tuple(task), tuple(method), command.budgets(budgets), command.seeds(seeds), command.settings(set_ or [])
    )  # fmt: skip
    options = Options(results, data_root, backbone, device, 1, time_limit, memory_limit, False, changed_data, amp, jail)
    raise SystemExit(clock.time(request, options, threads, as_json))


@app.command()
def calibrate(
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="Threads to measure with.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Measure this machine by matrix products, convolutions, memory and short training loops; about a minute."""
    from tlbench import clock

    clock.calibrate(device, threads, as_json)


@app.command()
def worker(
    plan: Annotated[Path, typer.Option(help="A file written by `run --plan-only`.")],
    index: Annotated[int, typer.Option(min=0, help="Which of its cells, from 0.")],
    results: Results = None,
    jail: Jail = "auto",
) -> None:
    """Run one cell of a plan and write its row to a shard of its own: what a cluster's scheduler calls."""
    from tlbench import command

    raise SystemExit(command.worker(plan, index, results, jail))


@app.command()
def collect(results: Results = None) -> None:
    """Fold the shards that workers wrote into the store."""
    from tlbench import command

    command.collect(results)


@app.command()
def pack(results: Results = None) -> None:
    """Move the store's rows into a packed segment: a tenth of the room, and what one commits."""
    from tlbench import command

    command.pack(results)


@app.command()
def leaderboard(
    results: Results = None,
    file: Annotated[Path | None, typer.Option(help="[default: leaderboard.md beside the store]")] = None,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit 1 if it would change.")] = False,
    with_: Annotated[
        list[Path] | None,
        typer.Option("--with", help="Preview it with this bundle, on stdout or in --file; repeatable."),
    ] = None,
) -> None:
    """Rebuild leaderboard.md between its two markers from the rows."""
    from tlbench import command

    if with_:
        from tlbench import referee

        raise SystemExit(referee.preview(with_, results, file))
    raise SystemExit(command.leaderboard(results, file, check))


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
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")] = "auto",
    jobs: Annotated[int | None, typer.Option(min=1, help="Cells at a time [default: one a core].")] = None,
    time_limit: Annotated[float, typer.Option(min=0.1, help="Seconds a cell may take.")] = 3600.0,
    memory_limit: Annotated[int | None, typer.Option(min=64, help="MiB a cell may take.")] = None,
    data_root: DataRoot = None,
    results: Results = None,
) -> None:
    """Run what lacks of a method's grid and write it as a bundle for a pull request: docs/submit.md."""
    from tlbench import command, referee
    from tlbench.api import Options
    from tlbench.submission import Submission

    options = Options(results, data_root, None, device, jobs, time_limit, memory_limit)
    wanted = Submission(
        method, tuple(tasks), command.budgets(budgets), command.seeds(seeds), partial, name, out,
        referee.words_of("submit", sys.argv[1:]), supersedes, reason, options,
    )  # fmt: skip
    referee.submit(wanted)


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
    from tlbench import referee
    from tlbench.api import Options

    options = Options(results, data_root, None, device, 1, time_limit)
    raise SystemExit(referee.verify(folder, options, sample, seed, record, as_json))


@app.command()
def guard(
    base: Annotated[str, typer.Argument(help="The commit that a pull request starts from, as origin/main.")],
    head: Annotated[str, typer.Option(help="Its last commit.")] = "HEAD",
    results: Results = None,
) -> None:
    """Refuse what a pull request may not change: others' rows and bundles; exit 0 accept, 1 reject, 3 question."""
    from tlbench import referee

    raise SystemExit(referee.guard(base, head, results))


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
    as_json: AsJson = False,
) -> None:
    """Two methods on the cells that both have: differences with intervals, and a verdict."""
    from tlbench import questions

    questions.compare(first, second, task or [], budget, results, as_json)


@app.command()
def why(
    method: Annotated[str, typer.Argument(help="A method.")],
    task: Annotated[str, typer.Argument(help="A task, as digits/fonts-photos.")],
    budget: Annotated[str, typer.Argument(help="Labels per class.")],
    results: Results = None,
    as_json: AsJson = False,
) -> None:
    """The rows behind a cell of the board, and the command that makes them again."""
    from tlbench import questions

    questions.why(method, task, budget, results, as_json)


@app.command()
def recommend(
    task: Annotated[str, typer.Option("--task", "-t", help="A task, or a card's path.")],
    budget: Annotated[str, typer.Option(help="Labels per class that you have.")],
    data_root: DataRoot = None,
    results: Results = None,
    as_json: AsJson = False,
) -> None:
    """What to use on a task, from the board's tasks most like it; and what is likely to do harm."""
    from tlbench import questions

    questions.recommend(task, budget, results, data_root, as_json)


@app.command(name="list")
def list_(
    what: Annotated[str, typer.Argument(help="tasks, methods, budgets, backbones or rules.")],
    as_json: AsJson = False,
) -> None:
    """What there is."""
    from tlbench import catalog

    catalog.show_list(what, as_json)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A task or a method.")],
    split: Annotated[int | None, typer.Option(min=0, help="Print the split manifest of this seed instead.")] = None,
    data_root: DataRoot = None,
    as_json: AsJson = False,
) -> None:
    """All about one task or method."""
    from tlbench import catalog

    if split is None:
        catalog.show(name, as_json)
    else:
        catalog.show_split(name, split, data_root)


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
    from tlbench import command
    from tlbench.api import Options

    options = Options(results, data_root, None, device, jobs, time_limit, memory_limit, retry_failed)
    raise SystemExit(command.reproduce(names or [], options, set_ or [], check))


@app.command()
def selftest(
    suites: Annotated[list[str] | None, typer.Argument(help="Calibration suites [default: all].")] = None,
    methods: Annotated[bool, typer.Option("--methods", help="Hold the methods that ship against the theory.")] = False,
    jobs: Annotated[int | None, typer.Option(min=1, help="Cells at a time [default: one a core].")] = None,
    verbose: Annotated[bool, typer.Option("--all", help="Print every demand, not only one line a suite.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run the tasks with known truth and print predicted against measured; exit 1 when a demand does not hold."""
    from tlbench import command

    raise SystemExit(command.selftest(suites or [], methods, jobs, verbose, as_json))


@app.command()
def doctor(data_root: DataRoot = None, results: Results = None, as_json: AsJson = False) -> None:
    """Versions, devices, data, weights, free disk, and what is missing."""
    from tlbench import doctor as examination

    examination.show(data_root, results, as_json)


@data_app.command()
def pull(
    names: Annotated[list[str], typer.Argument(help="Datasets or backbones.")],
    root: Annotated[
        Path | None, typer.Option("--root", "--data-root", help="Put it here instead of the user's data folder.")
    ] = None,
    mirror: Annotated[str | None, typer.Option(help="An address tried first: serves <dataset>/<path>.")] = None,
) -> None:
    """Download and check; goes on where an earlier pull stopped."""
    from tlbench import catalog

    catalog.pull(names, root, mirror)


@data_app.command()
def where(
    names: Annotated[list[str] | None, typer.Argument()] = None,
    data_root: DataRoot = None,
    as_json: AsJson = False,
) -> None:
    """Where each dataset is, or that it is missing."""
    from tlbench import catalog

    catalog.where(names or [], data_root, as_json)


@data_app.command()
def freeze(names: Annotated[list[str], typer.Argument(help="Suites.")], data_root: DataRoot = None) -> None:
    """Record the split digests of suites from the data at hand (for who adds a task or bumps its version)."""
    from tlbench import catalog

    catalog.freeze(names, data_root)


@data_app.command(name="audit")
def audit_(
    names: Annotated[list[str] | None, typer.Argument(help="Tasks [default: all whose data is here].")] = None,
    data_root: DataRoot = None,
    as_json: AsJson = False,
) -> None:
    """Copies, conflicting labels and empty boxes of each task, and what the rule takes out of training."""
    from tlbench import audit

    audit.show(names or [], data_root, as_json)


@data_app.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument()] = None,
    data_root: DataRoot = None,
    as_json: AsJson = False,
) -> None:
    """Check every file against its SHA-256; exit 1 and name what differs."""
    from tlbench import catalog

    raise SystemExit(catalog.verify(names or [], data_root, as_json))


@new_app.command()
def task(name: Annotated[str, typer.Argument(help="A name, or the path of a .toml to write.")]) -> None:
    """Write a commented task card: your own data, no code."""
    from tlbench import newcard

    print(f"{newcard.write(name)}: written; say in it where your data is, then: tlbench run --task …")


@new_app.command(name="method")
def method_(name: Annotated[str, typer.Argument(help="A name, or the path of a folder to make.")]) -> None:
    """Write an installable package with a method that works, and its tests."""
    from tlbench import newmethod

    folder = newmethod.write(name)
    print(f"{folder}: written; now: uv pip install -e {folder}; tlbench check {newmethod.full_name(folder.name)}")


if __name__ == "__main__":
    main()
