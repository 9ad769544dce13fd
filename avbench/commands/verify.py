"""``avbench verify``: is everything in a results folder what was written?"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from avbench.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Command:
    """Reads and hashes all records, stages, checkpoints and prepared clips; says what is to be computed again."""

    results: tyro.conf.Positional[Path] = Path("results")
    """Where the records are."""
    data: bool = True
    """Also read, hash and decode the prepared clips that the records name."""

    def execute(self) -> int:
        """Prints one line a problem; returns 1 when there is one."""
        from avbench.running.verify import Verification

        if not self.results.is_dir():
            raise InputError(f"{self.results}: found no folder, valid: a results folder.")
        verification, found = Verification(self.results), 0
        for problem in verification.problems(data=self.data):
            found += 1
            sys.stdout.write(f"{problem}\n")
            sys.stdout.flush()
        looked = ", ".join(f"{count} {what}" for what, count in verification.counts.items()) or "nothing"
        sys.stdout.write(f"{self.results}: {looked}; {found} {'problem' if found == 1 else 'problems'}\n")
        if verification.unsealed:
            sys.stdout.write(f"{verification.unsealed} of these are of a version that noted no hashes of them.\n")
        return 1 if found else 0
