"""What a headless run tells the notebook in its process, by environment variables, and the tables that it leaves."""

from pathlib import Path

from sslauth_utils.base.files import sha256_file, sha256_json

RUN_DIR = "SSLAUTH_RUN_DIR"  # the folder into which its rows go
FINGERPRINT = "SSLAUTH_FINGERPRINT"  # hash of all that its rows depend on (`engine.plan`)
USED = "artifacts.jsonl"  # in that folder: the artifacts that it asked the store for, one a line
PEAK = "peak_memory_kb"  # in that folder: the largest resident memory of the notebook's process so far


def tables_sha256(folder: Path) -> str | None:
    """One SHA-256 of the rows and measures in a run's folder; None without rows."""
    tables = [folder / name for name in ("rows.csv", "measures.csv")]
    found = [sha256_file(path) if path.is_file() else None for path in tables]
    return sha256_json(found) if found[0] else None
