"""One job, watched by a process that runs no other: `python -m tlbench.runner.worker.once ORDER`.

ORDER is a JSON file {"id", "folder", "limits", "jail"}. What was seen of the job (code, fate, lived_s, cpu_s) goes to a
file beside it with the suffix .ended: not into the job's folder, where the job could write it itself.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from tlbench.runner.worker import server
from tlbench.runner.worker.watchdog import Child

TICK_S = 0.02  # how often the job is looked at


def main(order: Path) -> None:
    """Run the job that `order` names and write down its end."""
    wanted, children, ended = json.loads(order.read_text()), dict[int, Child](), list[dict[str, Any]]()
    server.preload({"jail": wanted["jail"]})
    server.adopt_strays()
    server.fork(wanted, children, ())
    while not ended:
        time.sleep(TICK_S)
        server.watch(children)
        ended = server.reap(children)
    temporary = order.with_suffix(".tmp")
    temporary.write_text(json.dumps(ended[0]))
    temporary.rename(order.with_suffix(".ended"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
