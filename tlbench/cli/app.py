"""The command line's groups, and the options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Measure transfer-learning methods: accuracy, harm, time and memory under one protocol.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(help="Fetch, find and check datasets and weights.", no_args_is_help=True, rich_markup_mode=None)
new_app = typer.Typer(help="Start a task or a method of your own.", no_args_is_help=True, rich_markup_mode=None)
edition_app = typer.Typer(help="Frozen sets of rows, and the open one.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(data_app, name="data")
app.add_typer(edition_app, name="edition")
app.add_typer(new_app, name="new")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
Results = Annotated[Path | None, typer.Option("--results", help="The store [default: results/ of the checkout].")]
Sandbox = Annotated[str, typer.Option(help="How far methods are confined: auto, 0, 1 or 2; see docs/security.md.")]
InEdition = Annotated[
    str | None, typer.Option("--edition", help="A frozen edition, or 'open' [default: the newest that is frozen].")
]
DataRoot = Annotated[Path | None, typer.Option("--data-root", help="Where the data is, before TLBENCH_DATA.")]
