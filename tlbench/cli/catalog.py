"""What there is, what this machine has, and what to start from."""

from __future__ import annotations

from typing import Annotated

import typer

from tlbench.cli.app import AsJson, DataRoot, Results, app, new_app


@app.command(name="list")
def list_(
    what: Annotated[str, typer.Argument(help="tasks, methods, budgets, backbones or rules.")],
    as_json: AsJson = False,
) -> None:
    """What there is."""
    from tlbench.cli.commands import catalog

    catalog.show_list(what, as_json)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A task or a method.")],
    split: Annotated[int | None, typer.Option(min=0, help="Print the split manifest of this seed instead.")] = None,
    data_root: DataRoot = None,
    as_json: AsJson = False,
) -> None:
    """All about one task or method."""
    from tlbench.cli.commands import catalog

    if split is None:
        catalog.show(name, as_json)
    else:
        catalog.show_split(name, split, data_root)


@app.command()
def doctor(data_root: DataRoot = None, results: Results = None, as_json: AsJson = False) -> None:
    """Versions, devices, data, weights, free disk, and what is missing."""
    from tlbench.cli.commands import doctor as examination

    examination.show(data_root, results, as_json)


@new_app.command()
def task(name: Annotated[str, typer.Argument(help="A name, or the path of a .toml to write.")]) -> None:
    """Write a commented task card: your own data, no code."""
    from tlbench.cli.commands import templates

    print(f"{templates.write_card(name)}: written; say in it where your data is, then: tlbench run --task …")


@new_app.command(name="method")
def method_(name: Annotated[str, typer.Argument(help="A name, or the path of a folder to make.")]) -> None:
    """Write an installable package with a method that works, and its tests."""
    from tlbench.cli.commands import templates

    folder = templates.write_method(name)
    print(f"{folder}: written; now: uv pip install -e {folder}; tlbench check {templates.full_name(folder.name)}")
