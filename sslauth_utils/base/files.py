"""Reading and writing files: atomic, hashed, and never a pickle."""

import csv
import errno
import hashlib
import json
import os
import stat
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from sslauth_utils.base.errors import UserError


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success.

    A reader sees the old file or the new one, never half of one; on an error
    the temporary file is removed and `path` stays as it was. Where a link lies, what it leads to is replaced; a file
    that is replaced keeps its permissions.

    Raises:
        UserError: the disk is full, the folder cannot be written, or what lies there is write-protected or no file.
    """
    path = Path(path)
    try:
        path = Path(os.path.realpath(path)) if path.is_symlink() else path
        mode = _mode_to_keep(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        suffix = path.suffix if len(path.suffix) <= 20 else ""  # what writes pictures goes by it
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:30]}.", suffix=suffix)
        os.close(handle)
    except OSError as error:
        raise _cannot_write(path, error) from error
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        if mode is None:
            umask = os.umask(0)
            os.umask(umask)
            mode = 0o666 & ~umask  # mkstemp makes files private; results are to be shared
        temporary.chmod(mode)
        temporary.replace(path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _mode_to_keep(path: Path) -> int | None:
    """The permissions of the file at `path`, or None where there is nothing."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        raise UserError(f"Cannot write {path}; it is there already and is no ordinary file. Choose another name.")
    if not mode & 0o222:
        raise UserError(
            f"Cannot write {path}; it is write-protected. Choose another name, or give it write permission."
        )
    return stat.S_IMODE(mode)


def _cannot_write(path: Path, error: OSError) -> UserError:
    if error.errno == errno.ENOSPC:
        what = "the disk is full: free some space and run again"
    elif error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        what = "the folder cannot be written: give yourself write permission or copy the project elsewhere"
    else:
        what = f"the system says: {error.strerror or error}"
    return UserError(f"Cannot write {path}; {what}. Nothing was left half-written.")


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON with a final newline, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: the file is missing or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"There is no file {path}.") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path} is not readable as JSON ({error}); remove it and run again.") from error


def read_yaml(path: Path) -> Any:
    """The plain values in a YAML file, parsed once for each text: do not change what comes back.

    Raises:
        UserError: the file is missing, is not YAML, or gives a key twice.
    """
    try:
        return _parse_yaml(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"There is no file {path}.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); see to its permissions.") from error
    except (UnicodeDecodeError, ValueError) as error:
        raise UserError(f"{path} is not readable as YAML: {error}; correct it.") from error


@lru_cache(maxsize=16)
def _parse_yaml(text: str) -> Any:
    import yaml  # here, because this module serves a bare Python, too

    checked: set[yaml.Node] = set()

    class Strict(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # the same rules, in C
        """Of a key that stands twice, YAML takes the last without a word."""

        def flatten_mapping(self, node: yaml.MappingNode) -> None:
            keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            if node not in checked:  # looked at once, as it was written: what it merges (<<) may give a key again
                checked.add(node)
                for key, count in Counter(key.value for key in keys).items():
                    if count > 1:
                        line = [other for other in keys if other.value == key][1].start_mark.line + 1
                        raise ValueError(f"line {line} gives the key {key!r} a second time")
            super().flatten_mapping(node)

    try:
        return yaml.load(text, Loader=Strict)
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ValueError(where + str(error.problem)) from error
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write dictionaries as CSV with exactly these columns, atomically.

    Floats are written with ``repr``: they read back bit for bit.
    """
    with atomic(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits.

    Raises:
        UserError: it cannot be read.
    """
    try:
        with open(path, "rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); see to its permissions.") from error


def sha256_json(value: Any) -> str:
    """SHA-256 of a JSON value in canonical form (sorted keys, no blanks)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
