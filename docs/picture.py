"""Draw docs/run.svg, the README's picture, from the rows of `tlbench run --task digits --method dann`."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path

from rich.console import Console

from tlbench.cli.commands.console import table
from tlbench.runner import experiment
from tlbench.runner.plan import Request

if __name__ == "__main__":
    outcome = experiment.execute(Request(("digits",), ("dann",)), experiment.Options())
    console = Console(record=True, width=160, file=StringIO())
    console.print(table(outcome.lines))
    svg = console.export_svg(title="tlbench run --task digits --method dann")
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)  # a picture that fetches no font from anywhere
    (Path(__file__).parent / "run.svg").write_text(svg)
