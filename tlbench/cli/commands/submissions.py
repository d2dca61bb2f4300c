"""What `submit`, `verify`, `guard` and `leaderboard --with` do: words to values, a report at the end."""

from __future__ import annotations

import json
import secrets
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tlbench.board import markdown
from tlbench.board.board import Board
from tlbench.board.markdown import BEGIN
from tlbench.cli.commands.console import bar
from tlbench.errors import UsageError
from tlbench.results import bundle, editions
from tlbench.results.bundle import RECORD, Record
from tlbench.results.store import Store, default_folder
from tlbench.runner.experiment import Options
from tlbench.runner.sweep import provenance
from tlbench.verification.submissions import pull_request as guards
from tlbench.verification.submissions import submit as submission
from tlbench.verification.submissions.inspection import table, worst
from tlbench.verification.submissions.submit import Submission
from tlbench.verification.submissions.verify import LEAST_JAIL, Verification

CODES = {"accept": 0, "reject": 1, "question": 3}  # 2 is a user's mistake


def words_of(command: str, words: Sequence[str]) -> str:
    """The command as it was given."""
    return shlex.join(["tlbench", *(words if words[:1] == [command] else [command])])[:2000]


def submit(wanted: Submission) -> None:
    """Make a bundle and say where it is and what to do with it."""
    with bar() as shown:
        folder, said = submission.submit(wanted, shown.tell, shown.extraction)
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 2**20
    print(f"{folder}: {size:.2f} MiB", *said, sep="\n")
    print(f"next: tlbench verify {folder}", f"      tlbench leaderboard --with {folder}", sep="\n")


def verify(folder: Path, options: Options, sample: int, seed: int | None, record: bool, json_wanted: bool) -> int:
    """Print a report to paste; with `record`, write the verdict beside the bundle. Returns the exit code."""
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; `tlbench submit` writes bundles")
    root = options.results or default_folder()
    store = Store(root)
    seed = secrets.randbelow(1 << 31) if seed is None else seed
    with bar() as shown:
        done = Verification(folder, options, store, sample, seed, shown.tell)
        verdict = done.run()
    if record:
        _record(done, verdict)
    checks = [asdict(c) for c in done.checks]
    said = {"bundle": folder.name, "verdict": verdict, "seed": seed, "sample": sample, "checks": checks}
    print(json.dumps(said, ensure_ascii=False) if json_wanted else report(done, verdict))
    return CODES[verdict]


def report(done: Verification, verdict: str) -> str:
    """Markdown, for a pull request."""
    made = provenance()
    digest = done.bundle.digest[:16] if done.bundle else "none"
    return "\n".join([
        f"## {done.folder.name}: {verdict}", "", table(done.checks), "",
        f"bundle {digest}; tlbench {made['tlbench']} on torch {made['torch']}, {made['machine']}; again: "
        f"`tlbench verify {done.folder.name} --sample {done.sample} --seed {done.seed}`",
    ])  # fmt: skip


def _record(done: Verification, verdict: str) -> None:
    if done.bundle is None:
        raise UsageError(
            f"{done.folder}: is no bundle, there is nothing to record; without --record the report says why"
        )
    made = provenance()
    text = Record(
        format=1, bundle=done.bundle.digest, verdict=verdict, seed=done.seed, jail=LEAST_JAIL,
        checks=[(c.name, c.verdict, c.said[:1000].encode(errors="replace").decode()) for c in done.checks],
        tlbench=made["tlbench"], commit=made["commit"], time=made["time"],
    ).model_dump_json(indent=2)  # fmt: skip
    (done.folder / RECORD).write_text(text + "\n", encoding="utf-8")


def preview(folders: Sequence[Path], results: Path | None, file: Path | None, edition: str | None = None) -> int:
    """The board as it would be with bundles, marked as not verified; on stdout, or in a file that is not the board."""
    root = results or default_folder()
    chosen = editions.named(root, edition)
    store = editions.opened(root, chosen)
    if file is not None and file.exists() and BEGIN in file.read_text(encoding="utf-8", errors="replace"):
        raise UsageError(f"{file}: is a board; a preview goes elsewhere")
    try:
        found = [bundle.read(folder) for folder in folders]
    except ValueError as error:
        raise UsageError(f"--with: {error}") from None
    board = Board(store, found, chosen)
    names = {f"{b.about.method.name} (unverified)" for b in found}
    text = markdown.text(board)
    if file is None:
        print(text)
    else:
        file.write_text(text, encoding="utf-8")
        print(f"{file}: a preview, {len(board.rows)} rows")
    if missing := names - {r.method for r in board.joined}:
        who, place = ", ".join(sorted(missing)), f"{store.folder} has; --results names the board's rows, in a checkout"
        print(f"note: no row of {who} is of a cell that {place}", file=sys.stderr)
    return 0


def guard(base: str, head: str, results: Path | None) -> int:
    """Say what a pull request changes that it may not. Returns the exit code."""
    checks = guards.guard((results or default_folder()).resolve().parent, base, head)
    verdict = worst(checks)
    print(f"## since {base}: {verdict}", "", table(checks), sep="\n")
    return CODES[verdict]
