"""The board in Markdown, between two markers of leaderboard.md: nothing of it is typed."""

from __future__ import annotations

from pathlib import Path

from tlbench.board import exports, sections
from tlbench.board.board import Board
from tlbench.errors import UsageError
from tlbench.results import editions
from tlbench.results.store import default_folder

BEGIN, END = "<!-- tlbench: generated below -->", "<!-- tlbench: generated above -->"


def start(file: Path) -> None:
    """An empty board, to be filled."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"# Leaderboard\n\n{BEGIN}\n{END}\n", encoding="utf-8")


def rebuild(board: Board, file: Path, folder: Path | None = None, write: bool = True) -> list[str]:
    """Replace what is between the markers of `file` by the tables of a board, and make the files beside it anew.
    Returns the names of what changes: of the text, and without `write` of the files as well.

    Args:
        folder: of the files, None takes the store's

    Raises:
        UsageError: the file is missing or lacks its markers.
    """
    try:
        old = file.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{file}: cannot be read ({error.strerror}); it must hold the lines {BEGIN} and {END}"
        ) from None
    head, begin, rest = old.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise UsageError(f"{file}: lacks its markers; put the lines {BEGIN} and {END} where the tables go")
    place = folder or board.store.folder
    new = f"{head}{BEGIN}\n\n{text(board)}\n{END}{tail}"
    changed = [file.name] if new != old else []
    if not write:
        return changed + exports.differing(board, place)
    exports.write(board, place)
    if changed:
        temporary = file.with_suffix(".tmp")
        temporary.write_text(new, encoding="utf-8")
        temporary.replace(file)
    return changed


def text(board: Board) -> str:
    """Everything between the markers."""
    if not board.grids:
        return "No rows yet: `tlbench run --task digits --method dann` makes some.\n"
    parts = []
    for section in sections.SECTIONS:
        if lines := section.lines(board):
            parts += [*([f"## {section.title}", ""] if section.title else []), *lines]
    return "\n".join(parts)


def leaderboard(results: Path | None = None, file: Path | None = None, edition: str | None = None) -> bool:
    """Rebuild an edition's leaderboard between its markers from the rows. Returns whether it changed.

    Args:
        file: None takes leaderboard.md beside the store for the newest frozen edition, and boards/ for others
        edition: 'open', or a frozen one; None takes the newest that is frozen, and where there is none the open one
    """
    board, place, folder = board_of(results or default_folder(), file, edition)
    return bool(rebuild(board, place, folder))


def board_of(folder: Path, file: Path | None, name: str | None) -> tuple[Board, Path, Path]:
    """The board of an edition of a store, the file it is written to, and the folder of what lies beside it."""
    edition = editions.named(folder, name)
    shown = editions.named(folder, None) == edition
    own = folder if shown else folder / "boards" / edition.name  # a frozen edition's own folder is never written to
    place = file or (folder.parent if shown else own) / "leaderboard.md"
    return Board(editions.opened(folder, edition), edition=edition), place, own
