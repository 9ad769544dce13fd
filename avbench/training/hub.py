"""Files and commits of models on the Hugging Face hub, from its cache where there is no network."""

from __future__ import annotations

from pathlib import Path

from avbench.errors import InputError
from avbench.files import sha256_file, sha256_text
from avbench.files.paths import expanded

HUB = "hf:"  # how weights on the hub begin
_FORM = "hf:OWNER/REPOSITORY/FILE, or hf:OWNER/REPOSITORY/FILE@REVISION"


def fetched(path: Path) -> Path:
    """Returns weights as a file here: itself, or of ``hf:OWNER/REPO/FILE@REVISION`` what the hub's cache has or gets.

    Its path names repository and commit; ids hold the hash of its content.

    Raises:
        InputError: There is no such file, or neither the hub nor its cache has it.
    """
    text = str(path)
    if not text.startswith(HUB):
        return path
    place, _, revision = text.removeprefix(HUB).partition("@")
    parts = place.split("/", 2)
    if len(parts) < 3 or not all(parts):
        raise InputError(f"{text}: found {len(parts)} parts, valid: {_FORM}.")
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download("/".join(parts[:2]), parts[2], revision=revision or None))
    except LocalEntryNotFoundError:
        raise InputError(
            f"{text}: the hub cannot be reached, and its cache ({constants.HF_HUB_CACHE}) has no such file; fetch it"
            " where there is a network, or name a file."
        ) from None
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise InputError(f"{text}: cannot be fetched ({reason.strip()}); valid: {_FORM}.") from None


def revision_of(place: str, revision: str) -> str:
    """Returns what tells the weights of a model: the hash of a folder's files, or the commit of one on the hub.

    Args:
        place: A folder, or ``OWNER/NAME``.
        revision: Of the latter, a branch, a tag or a commit.

    Raises:
        InputError: There is none, or neither the hub nor its cache can tell.
    """
    folder = expanded(place)
    if not folder.is_dir():
        return commit_of(place, revision)
    files = sorted(each for each in folder.iterdir() if each.is_file())
    return sha256_text("\n".join(f"{each.name} {sha256_file(each)}" for each in files))


def commit_of(repository: str, revision: str) -> str:
    """Returns the commit that a revision of a model on the hub names.

    Args:
        repository: ``OWNER/NAME``.
        revision: A branch, a tag or a commit.

    Raises:
        InputError: There is no such model or revision, or neither the hub nor its cache can tell.
    """
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
    from huggingface_hub.file_download import repo_folder_name

    if len(revision) == 40 and set(revision) <= set("0123456789abcdef"):
        return revision
    folder = repo_folder_name(repo_id=repository, repo_type="model")
    known = Path(constants.HF_HUB_CACHE) / folder / "refs" / revision
    try:
        commit = HfApi().model_info(repository, revision=revision, timeout=10).sha
    except (HfHubHTTPError, HFValidationError, OfflineModeIsEnabled, OSError) as error:
        if known.is_file():  # what was fetched last
            return known.read_text(encoding="utf-8").strip()
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"hf:{repository}@{revision}: neither the hub ({reason}) nor its cache ({constants.HF_HUB_CACHE}) has it;"
            " fetch it where there is a network, or name a folder."
        ) from None
    return str(commit)
