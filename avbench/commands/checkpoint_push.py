"""``avbench checkpoint push``: a run's weights with a model card and its record, into a folder or onto the hub."""

from __future__ import annotations

import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import tyro

from avbench.errors import InputError, RunError


@dataclass(frozen=True, kw_only=True)
class Push:
    """Writes a run's weights with a model card and its record, and brings them to the Hugging Face hub."""

    run: tyro.conf.Positional[str]
    """The id of a run that pretrained; see: avbench list runs."""
    repository: tyro.conf.Positional[str]
    """Where on the hub: OWNER/NAME."""
    results: Path = Path("results")
    """The results folder."""
    out: Path | None = None
    """Write into this folder, and bring nothing to the hub."""
    private: bool = False
    """Make a repository that others do not see, where there is none yet."""

    def execute(self) -> int:
        """Writes, and brings it to the hub unless a folder is named."""
        from avbench.files import atomic_path, write_text
        from avbench.report.card import WEIGHTS, card
        from avbench.store.records import read_record, stage_folder
        from avbench.store.seal import check_file
        from avbench.training.session import WEIGHTS as TRAINED

        if self.repository.count("/") != 1 or not all(self.repository.split("/")):
            raise InputError(f"{self.repository}: found no repository, valid: OWNER/NAME.")
        record = read_record(self.results, self.run)
        if record is None:
            raise InputError(f"{self.run}: no such run in {self.results}; valid: an id, see avbench list runs.")
        stage = next(iter(record["stages"].get("pretrain", [])), "")
        weights = stage_folder(self.results, "pretrain", stage) / TRAINED
        if not stage or not weights.is_file():
            raise InputError(
                f"run {self.run}: found no weights of its own, valid: a run that pretrained, weights kept."
            )
        check_file(weights)
        with tempfile.TemporaryDirectory() as scratch:
            folder = self.out or Path(scratch)
            copied = {WEIGHTS: weights, "record.json": self.results / "runs" / self.run / "record.json"}
            for name, file in copied.items():
                with atomic_path(folder / name, file.stat().st_size) as temporary:
                    shutil.copyfile(file, temporary)
            write_text(folder / "README.md", card(record, self.repository))
            if self.out is None:
                self._upload(folder)
        sys.stdout.write(f"{self.out or f'hf:{self.repository}/{WEIGHTS}'}\n")
        return 0

    def _upload(self, folder: Path) -> None:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

        try:
            HfApi().create_repo(self.repository, private=self.private, exist_ok=True)
            HfApi().upload_folder(repo_id=self.repository, folder_path=folder, commit_message=f"avbench run {self.run}")
        except (HfHubHTTPError, HFValidationError, OfflineModeIsEnabled, OSError) as error:
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise RunError(
                f"{self.repository}: the hub did not take it ({reason.strip()}); hf auth login, or --out FOLDER."
            ) from None
