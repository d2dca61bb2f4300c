"""How pictures are drawn and written: the same bytes from the same numbers, small, legible on white and on black."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import ROUND_HALF_UP, Decimal
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#787878"  # of text and lines: 4.4 to 1 on white, 4.3 on #0d1117, 3.8 on #1e1e1e
ON_LIGHT, ON_DARK = "#1c1c1c", "#ffffff"  # of text on a coloured cell
SETTINGS: dict[str, Any] = {
    "svg.hashsalt": "tlbench", "svg.fonttype": "none", "font.family": "DejaVu Sans", "font.size": 8,
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK,
    "grid.color": INK, "grid.alpha": 0.35, "grid.linewidth": 0.5, "axes.titlesize": 9, "axes.labelsize": 8,
    "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False, "legend.labelcolor": INK,
    "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none",
}  # fmt: skip


@contextmanager
def drawing() -> Iterator[None]:
    """Settings while a picture is drawn and written; a reader's own matplotlib is left as it was."""
    import matplotlib

    matplotlib.use("Agg")
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # nobody's own style may change a byte
        matplotlib.rcParams.update(SETTINGS)  # type: ignore[arg-type]  # its keys are literals
        yield


def save(figure: Figure, file: Path, title: str) -> Path:
    """Write a figure as SVG, whole or not at all; `title` is what a screen reader says."""
    import matplotlib.pyplot as plt

    drawn = StringIO()
    figure.savefig(
        drawn, format="svg", metadata={"Date": None, "Creator": _makers(), "Title": title}, bbox_inches="tight"
    )
    plt.close(figure)
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".tmp")
    text = compact(drawn.getvalue()).replace("<svg ", '<svg role="img" ', 1)
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(file)
    return file


def _makers() -> str:
    """What a picture's bytes depend on, beside its numbers: who drew it, and who measured its text."""
    from matplotlib import __version__, ft2font

    return f"tlbench, matplotlib {__version__}, FreeType {ft2font.__freetype_version__}"


def compact(text: str) -> str:
    """The same picture in a third of the bytes: no comments, no names, each style once, a tenth of a point."""
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"(?<=[ MLC\"(,-])\d+\.\d\d+", _tenth, text)
    text = re.sub(r' (?:transform="rotate\(-0 [^"]*"|id="(?:patch|text|line2d|QuadMesh)_\d+")', "", text)
    styles: dict[str, str] = {}

    def named(found: re.Match[str]) -> str:
        return f' class="{styles.setdefault(found[1], f"s{len(styles)}")}"'

    head, defs, body = text.partition("</defs>")
    body = re.sub(r"\n\s*", "\n", body)
    body = re.sub(r'<path d="[^"]*"(?: clip-path="[^"]*")? style="fill: none"/>\n', "", body)  # nothing is seen of it
    body = re.sub(r"M (\S+) (\S+) \nL (\S+) \2 \nL \3 (\S+) \nL \1 \4 \nL \1 \2 \n", r"M\1 \2H\3V\4H\1Z", body)
    body = re.sub(r"<g>\n(<text[^\n]*)\n</g>", r"\1", body)
    body = re.sub(r' style="([^"]*)"', named, body)
    rules = "".join(f".{name}{{{style}}}" for style, name in styles.items())
    return f"{head}<style>{rules}</style>{defs}{body}"


def _tenth(found: re.Match[str]) -> str:
    """A coordinate to a tenth of a point; matplotlib writes six digits, so that noise is gone before it is rounded."""
    return str(Decimal(found[0]).quantize(Decimal("0.1"), ROUND_HALF_UP))


def readable(cell: tuple[float, ...]) -> str:
    """The colour of text on a cell of this (r, g, b, ...), each 0..1."""
    under = "#" + "".join(f"{round(255 * part):02x}" for part in cell[:3])
    return max(ON_LIGHT, ON_DARK, key=lambda ink: contrast(ink, under))


def luminance(colour: str) -> float:
    """Relative luminance of '#rrggbb', 0..1 (WCAG 2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    """Of two colours, 1..21 (WCAG 2)."""
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)
