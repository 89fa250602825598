"""Hold the journal against the last seal that lies outside the database, before anything is posted.

A database that was restored from an older backup looks whole: its own seals are as old as it is.
The files in SEALS_DIR were not restored with it. The newest that a key of ours signed names an
entry of each chain; where one does not stand, nothing is posted, closed or sealed.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings

from billing_project.kernel.errors import Conflict
from revrec.links import Fault
from revrec.sealing import BadSeal, opened, public_key_of
from revrec.selectors.seals import head_faults

logger = logging.getLogger(__name__)
SEAL_FILES = "*.seal.json"

_is_set_aside: ContextVar[bool] = ContextVar("is_set_aside", default=False)
Stamp = tuple[tuple[str, int, int], ...]  # Path, instant of the last change, size.


class OlderState(Conflict):
    """The journal ends before the last sealed head, or says something else there."""

    code = "older_state"


@dataclass(frozen=True)
class Anchor:
    """The newest seal outside the database: its file's name, and what was signed."""

    name: str
    manifest: Mapping[str, Any]


def refuse_older_state() -> None:
    """Let nothing be posted onto a state that is older than the last seal outside the database.

    Call it under the lock of the chains: what is sealed meanwhile is committed before its file is.

    Raises:
        OlderState: named with the file, the entity, the positions that are missing, and a way out.
    """
    if told := older_state():
        raise OlderState(told)


def older_state() -> str:
    """Say what is missing of the journal that was sealed last; "" where nothing is, or no seal."""
    anchor, faults = last_anchor(), missing_of_anchor()
    if anchor is None or not faults:
        return ""
    says = "; ".join(f"{fault.subject}: {fault.message}" for fault in faults)
    return (
        f"{says}. Restore a backup from after {anchor.manifest['created_at']}; if the seal is of"
        " another installation, move its file out of SEALS_DIR"
    )


def missing_of_anchor() -> list[Fault]:
    """List the chains of which the last sealed entry does not stand."""
    anchor = None if _is_set_aside.get() else last_anchor()
    return list(head_faults(anchor.name, anchor.manifest)) if anchor else []


def last_anchor() -> Anchor | None:
    """Return the newest seal in SEALS_DIR that a key of ours signed; read again when files change.

    Ours are the key of SEALING_KEY_FILE and the public halves beside it (`*.pub.pem`), so that what
    a former key sealed still counts.
    """
    key = Path(settings.SEALING_KEY_FILE)
    keys = _stamp(key.parent, "*.pub.pem") + _stamp(key.parent, key.name)
    return _newest(_stamp(Path(settings.SEALS_DIR), SEAL_FILES), keys)


@contextmanager
def set_aside() -> Iterator[None]:
    """Post without the anchor: what is made again from nothing, and compared and undone."""
    token = _is_set_aside.set(True)
    try:
        yield
    finally:
        _is_set_aside.reset(token)


def _stamp(folder: Path, pattern: str) -> Stamp:
    """Tell whether files changed, without reading them; a folder that is missing has none."""
    found = ((path, path.stat()) for path in sorted(folder.glob(pattern)))
    return tuple((str(path), stat.st_mtime_ns, stat.st_size) for path, stat in found)


@lru_cache(maxsize=4)
def _newest(seals: Stamp, keys: Stamp) -> Anchor | None:
    trusted = {key for key in map(_key_at, keys) if key}
    found = [anchor for anchor in (_anchor_at(seal, trusted) for seal in seals) if anchor]
    return max(found, key=lambda anchor: str(anchor.manifest["created_at"]), default=None)


def _key_at(stamp: tuple[str, int, int]) -> str:
    try:
        return public_key_of(Path(stamp[0]).read_bytes())
    except (OSError, BadSeal):
        return ""


def _anchor_at(stamp: tuple[str, int, int], trusted: set[str]) -> Anchor | None:
    path = Path(stamp[0])
    try:
        return Anchor(path.name, opened(path.read_text(), trusted))
    except (OSError, UnicodeDecodeError, BadSeal) as error:
        logger.warning("seal not read", extra={"file": path.name, "why": str(error)})
        return None
