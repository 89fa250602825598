"""An audit pack as it is read: its files, its numbers, and what was found in it."""

import csv
import hashlib
import io
import json
from collections import Counter
from datetime import datetime
from decimal import Decimal

ZERO = Decimal(0)
FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Pack:
    """The pack's files, and what was found."""

    def __init__(self, archive):
        self.archive = archive
        self.manifest = json.loads(archive.read("manifest.json"))
        # (what was looked at, how many, faults, what was left aside)
        self.results = []

    def rows(self, name):
        """Read a file of rows, one at a time; an apostrophe that spreadsheets need is taken off."""
        with self.archive.open(name + ".csv") as raw:
            for row in csv.DictReader(io.TextIOWrapper(raw, "utf-8", newline="")):
                yield {key: plain(cell) for key, cell in row.items()}

    def note(self, title, count, faults, aside=""):
        """Keep what a check found."""
        self.results.append((title, count, list(faults), aside))


def plain(cell):
    """Take off the apostrophe in front of what a spreadsheet would run."""
    return cell[1:] if cell[:1] == "'" and cell[1:2] in FORMULA else cell


def number(text):
    """Read an exact number; nothing is zero."""
    return Decimal(text) if text else ZERO


def check_files(pack):
    """Hold every file against its hash, size and count in the manifest."""
    faults, listed = [], pack.manifest["files"]
    names = pack.archive.namelist()
    faults += [f"{name} is there twice" for name, count in Counter(names).items() if count > 1]
    present = set(names) - {"manifest.json"}
    faults += [f"{name} is not in the manifest" for name in sorted(present - set(listed))]
    faults += [f"{name} is missing" for name in sorted(set(listed) - present)]
    for name in sorted(present & set(listed)):
        digest, size, lines = hashlib.sha256(), 0, 0
        with pack.archive.open(name) as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
                size += len(chunk)
        if digest.hexdigest() != listed[name]["sha256"] or size != listed[name]["bytes"]:
            faults.append(f"{name} is not the file that was packed")
        elif "rows" in listed[name]:
            lines = sum(1 for _ in pack.rows(name[:-4]))
            if lines != listed[name]["rows"]:
                faults.append(f"{name} has {lines} rows, not {listed[name]['rows']}")
    pack.note("files are as they were packed", len(listed), faults)


def read_json(text):
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def moment(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
