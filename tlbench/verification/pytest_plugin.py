"""For the tests of your own method: each check is a test.

    @pytest.mark.parametrize("check", CHECKS)
    def test_mine_passes(check, tlbench_contract):
        tlbench_contract("package.module:Mine", check)

pytest loads this module at its start wherever tlbench is installed: it imports nothing slow, and does nothing before a
test asks for `tlbench_contract`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import pytest

from tlbench.verification.checks import CHECKS

__all__ = ["CHECKS", "Contract", "tlbench_contract"]


class Contract(Protocol):
    """Runs a check on a method: fails the test if it fails, skips it where the method declares it not applicable."""

    def __call__(self, method: str, check: str, **settings: object) -> None: ...


@pytest.fixture(scope="session")
def tlbench_contract() -> Iterator[Contract]:
    """A function of a method's name, a check's name and hyperparameters; one worker server for the session."""
    from tlbench.runner import places
    from tlbench.verification.contract import FAIL, PRELOADED, SKIP, Examination

    with places.executor(modules=PRELOADED) as workers:
        known: dict[tuple[str, tuple[tuple[str, str], ...]], Examination] = {}

        def demand(method: str, check: str, **settings: object) -> None:
            said = tuple((name, str(value)) for name, value in settings.items())
            if (method, said) not in known:
                known[method, said] = Examination(method, dict(said), workers)
            found = known[method, said].checked(check)
            if found.outcome == FAIL:
                pytest.fail(f"{method} {found.said}: {found.happened}\nagain: {found.again}", pytrace=False)
            if found.outcome == SKIP:
                pytest.skip(found.happened)

        yield demand
