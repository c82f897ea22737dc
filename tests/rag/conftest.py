"""What the tests of retrieval share: a small folder of billing documents."""

from __future__ import annotations

from pathlib import Path

import pytest

PLANS = """# Plans

## Pausing a subscription

You can pause an annual subscription for up to three months in the account settings.

## Team plans

The Team plan costs 24 EUR for each seat and month. Seats can be added at any time.
"""
REFUNDS = """# Refunds

## How long it takes

Refunds go back to the card that paid, within 14 days.
"""
NOTES = "Invoices are sent by e-mail on the first day of the month.\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with plans.md, refunds.md and notes.txt."""
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "plans.md").write_text(PLANS)
    (folder / "refunds.md").write_text(REFUNDS)
    (folder / "notes.txt").write_text(NOTES)
    return folder
