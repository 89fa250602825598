"""Adds an audit pack up again, from raw events to the journal: python PACK.zip

It needs Python 3.9 or newer and nothing else: no network, no database, no package. It does not
trust the system that made the pack, and shares no code with it. It says what it looked at and what
it found. What somebody left out together with all that refers to it cannot be told from the pack
alone: hold its sha256, which is printed first, against the one that the system keeps of it.
"""

import csv
import hashlib
import sys
import zipfile
from decimal import Context, localcontext
from typing import TextIO

from .books import check_journal, check_policies
from .money import check_invoices, check_ledger, check_notes, check_ratings
from .pack import Pack, check_files
from .usage import check_events, check_readings, check_windows

MOST_SHOWN = 20  # Faults of one check that are written out.


def verify(path: str, out: TextIO = sys.stdout) -> int:
    """Check a pack, write what was found, and return the number of faults."""
    before = csv.field_size_limit(1 << 30)
    try:
        return _verify(path, out)
    finally:
        csv.field_size_limit(before)


def _verify(path: str, out: TextIO) -> int:
    out.write(f"sha256 {sha256_of(path)}\n")
    with zipfile.ZipFile(path) as archive, localcontext(Context(prec=100)):
        pack = Pack(archive)
        check_files(pack)
        if pack.results[0][2]:
            return report(pack, out)
        said = check_events(pack)
        windows, meters, values = check_readings(pack, said)
        check_windows(pack, windows, meters, values)
        charged = check_ratings(pack, windows)
        check_ledger(pack, charged)
        check_invoices(pack, charged)
        check_notes(pack)
        check_journal(pack)
        check_policies(pack)
        return report(pack, out)


def report(pack: Pack, out: TextIO) -> int:
    """Write the results and return the number of faults."""
    out.write(f"Audit pack of {pack.manifest['scope_in_words']}, made {pack.manifest['made_at']}\n")
    found = 0
    for title, count, faults, aside in pack.results:
        found += len(faults)
        mark = "FAULT" if faults else "ok"
        out.write(f"{mark:5} {title}: {count:,}{'; ' + aside if aside else ''}\n")
        out.writelines(f"      {fault}\n" for fault in faults[:MOST_SHOWN])
        if len(faults) > MOST_SHOWN:
            out.write(f"      and {len(faults) - MOST_SHOWN:,} more\n")
    out.write("Everything adds up.\n" if not found else f"{found:,} faults.\n")
    return found


def sha256_of(path: str) -> str:
    """Return the hash of a whole file."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
