"""For the tests of a method of one's own: each promise a test of its own.

    @pytest.mark.parametrize("promise", PROMISES)
    def test_mine_keeps_its_promise(promise, tlbench_contract):
        tlbench_contract("package.module:Mine", promise)

pytest loads this module at its start wherever tlbench is installed: it imports nothing slow, and does nothing before a
test asks for `tlbench_contract`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import pytest

from tlbench.verification.promises import PROMISES

__all__ = ["PROMISES", "Contract", "tlbench_contract"]


class Contract(Protocol):
    """Holds a method to a promise: fails the test where it is broken, skips it where the method says it cannot."""

    def __call__(self, method: str, promise: str, **settings: object) -> None: ...


@pytest.fixture(scope="session")
def tlbench_contract() -> Iterator[Contract]:
    """A function of a method's name, a promise's name and hyperparameters; one worker server for the session."""
    from tlbench.runner import places
    from tlbench.verification.contract import BROKEN, PRELOADED, REFUSED, Examination

    with places.executor(modules=PRELOADED) as workers:
        known: dict[tuple[str, tuple[tuple[str, str], ...]], Examination] = {}

        def demand(method: str, promise: str, **settings: object) -> None:
            said = tuple((name, str(value)) for name, value in settings.items())
            if (method, said) not in known:
                known[method, said] = Examination(method, dict(said), workers)
            found = known[method, said].promised(promise)
            if found.outcome == BROKEN:
                pytest.fail(f"{method} {found.said}: {found.happened}\nagain: {found.again}", pytrace=False)
            if found.outcome == REFUSED:
                pytest.skip(found.happened)

        yield demand
