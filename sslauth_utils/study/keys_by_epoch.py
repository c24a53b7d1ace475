"""What the key samples say after every epoch of an attack or of fine-tuning, as lines of rows.csv."""

from collections.abc import Mapping
from typing import Any

from sslauth_utils.schemes.record import Record
from sslauth_utils.schemes.verification import verify
from sslauth_utils.study.enrolled import one_generator
from sslauth_utils.study.rowlog import RowLog


def log_keys_by_epoch(rows: RowLog, tamper: str, record: Record, attacked: Mapping[str, Any]) -> None:
    """Add the verification after every epoch, by DCmp and Trans.

    Args:
        record: whose generator G_min judges.
        attacked: facts of an attack or of fine-tuning: key_features by epoch.
    """
    record = one_generator(record)
    for epoch, features in attacked["key_features"].items():
        named = {"tamper": tamper, "strength": epoch}
        rows.add(f"{tamper} epoch {epoch}", [row | named for row in verify(record, features).rows()])
