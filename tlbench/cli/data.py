"""Datasets and weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tlbench.cli.app import AsJson, DataRoot, data_app


@data_app.command()
def pull(
    names: Annotated[list[str], typer.Argument(help="Datasets or backbones.")],
    root: Annotated[
        Path | None, typer.Option("--root", "--data-root", help="Put it here instead of the user's data folder.")
    ] = None,
    mirror: Annotated[str | None, typer.Option(help="An address tried first: serves <dataset>/<path>.")] = None,
) -> None:
    """Download and check; goes on where an earlier pull stopped."""
    from tlbench.cli.commands import catalog

    catalog.pull(names, root, mirror)


@data_app.command()
def where(
    names: Annotated[list[str] | None, typer.Argument()] = None,
    data_root: DataRoot = None,
    as_json: AsJson = False,
) -> None:
    """Where each dataset is, or that it is missing."""
    from tlbench.cli.commands import catalog

    catalog.where(names or [], data_root, as_json)


@data_app.command()
def freeze(names: Annotated[list[str], typer.Argument(help="Suites.")], data_root: DataRoot = None) -> None:
    """Record the split digests of suites from the data at hand (for who adds a task or bumps its version)."""
    from tlbench.cli.commands import catalog

    catalog.freeze(names, data_root)


@data_app.command(name="audit")
def audit_(
    names: Annotated[list[str] | None, typer.Argument(help="Tasks [default: all whose data is here].")] = None,
    data_root: DataRoot = None,
    as_json: AsJson = False,
) -> None:
    """Copies, conflicting labels and empty boxes of each task, and what the rule takes out of training."""
    from tlbench.cli.commands import audit

    audit.show(names or [], data_root, as_json)


@data_app.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument()] = None,
    data_root: DataRoot = None,
    as_json: AsJson = False,
) -> None:
    """Check every file against its SHA-256; exit 1 and name what differs."""
    from tlbench.cli.commands import catalog

    raise SystemExit(catalog.verify(names or [], data_root, as_json))
