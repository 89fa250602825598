"""Adds an audit pack up again, from raw events to the journal: python verify.py PACK.zip

This script needs Python 3.9 or newer and nothing else: no network, no database, no package. It does
not trust the system that made the pack, and shares no code with it. It says what it looked at and
what it found; it exits 1 if anything does not add up.
"""

import csv
import hashlib
import io
import json
import sys
import zipfile
from collections import defaultdict
from decimal import Context, Decimal, localcontext
from typing import TextIO

ZERO = Decimal(0)
MOST_SHOWN = 20  # Faults of one check that are written out.


class Pack:
    """The pack's files, and what was found."""

    def __init__(self, archive):
        self.archive = archive
        self.manifest = json.loads(archive.read("manifest.json"))
        # (what was looked at, how many, faults, what was left aside)
        self.results = []

    def rows(self, name):
        """Read a file of rows, one at a time."""
        with self.archive.open(name + ".csv") as raw:
            yield from csv.DictReader(io.TextIOWrapper(raw, "utf-8", newline=""))

    def note(self, title, count, faults, aside=""):
        """Keep what a check found."""
        self.results.append((title, count, list(faults), aside))


def number(text):
    """Read an exact number; nothing is zero."""
    return Decimal(text) if text else ZERO


def check_files(pack):
    """Hold every file against its hash, size and count in the manifest."""
    faults, listed = [], pack.manifest["files"]
    present = set(pack.archive.namelist()) - {"manifest.json"}
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


def check_events(pack):
    """Each identifier of a customer is one event, and what is read is what the event says."""
    said, faults = {}, []
    for row in pack.rows("events"):
        key = (row["customer"], row["identifier"])
        if key in said:
            faults.append(f"event {key} is there twice")
        counts = None if row["is_cancelled"] == "true" else row["counted_properties"]
        said[key] = counts
    pack.note("events are there once", len(said), faults)
    return said


def check_readings(pack, said):
    """Every value that counts stands in an event that counts; add them up by window."""
    windows = {row["id"]: row for row in pack.rows("windows")}
    meters = defaultdict(list)
    for row in pack.rows("meters"):
        meters[row["meter"]].append(row)
    values, faults, count = defaultdict(list), [], 0
    for row in pack.rows("readings"):
        count += 1
        key, window = (row["customer"], row["identifier"]), windows.get(row["window"])
        if window is None or window["customer"] != row["customer"]:
            faults.append(f"{key} is read into window {row['window']}, which is not its own")
        elif said.get(key) is None:
            faults.append(f"{key} is read, but there is no such event that counts")
        elif not says(said[key], row["value"], meters[window["meter"]]):
            faults.append(f"{key} is read as {row['value']}, which the event does not say")
        else:
            values[row["window"]].append(row["value"])
    pack.note("values are what their events say", count, faults)
    return windows, meters, values


def says(properties, value, versions):
    """Tell whether an event's properties give a value under some version of its meter."""
    found = json.loads(properties, parse_float=Decimal, parse_int=Decimal)
    for version in versions:
        if version["aggregation"] == "count":
            if value == "1":
                return True
        elif version["constant_value"]:
            if number(value) == number(version["constant_value"]):
                return True
        elif agrees(found.get(version["value_property"]), value, version):
            return True
    return False


def agrees(said, value, version):
    """Compare a property with a value, to the decimals that the meter keeps."""
    if said is None:
        return False
    if version["aggregation"] == "unique":
        return value == (str(said).lower() if isinstance(said, bool) else str(said))
    try:
        exact = Decimal(str(said))
    except ArithmeticError:
        return False
    return abs(exact - Decimal(value)) < Decimal(1).scaleb(-int(version["rounding_decimals"]))


def total(aggregation, values):
    """Aggregate values as a meter of this kind does; None for kinds that need more than values."""
    if aggregation == "unique":
        return Decimal(len(set(values)))
    numbers = [Decimal(value) for value in values]
    if aggregation in ("sum", "count"):
        return sum(numbers, ZERO)
    if aggregation in ("max", "min"):
        return (max if aggregation == "max" else min)(numbers, default=ZERO)
    return None


def check_windows(pack, windows, meters, values):
    """The values of a window's events come to its quantity."""
    faults, aside = [], 0
    for pk, window in windows.items():
        kind = meters[window["meter"]][0]["aggregation"]
        if kind == "time_weighted_sum":
            aside += 1
            continue
        if len(values[pk]) != int(window["event_count"]):
            faults.append(
                f"window {pk} counts {window['event_count']} events, not {len(values[pk])}"
            )
        again = total(kind, values[pk])
        if again is None:  # The last one: one of its events says it.
            again = number(window["quantity"])
            if values[pk] and again not in {Decimal(value) for value in values[pk]}:
                faults.append(f"window {pk} says {again}, which none of its events does")
        elif again != number(window["quantity"]):
            faults.append(f"window {pk} comes to {again}, not {window['quantity']}")
    left = f"{aside} time-weighted windows are left aside" if aside else ""
    pack.note("windows come to what their events say", len(windows) - aside, faults, left)


def check_ratings(pack, windows):
    """Ratings come to their windows; each charge to its tiers, and to drawn and overage."""
    faults, rated, charged = [], defaultdict(Decimal), {}
    for row in pack.rows("ratings"):
        rated[row["window"]] += number(row["quantity"])
        charge, drawn, over = (number(row[name]) for name in ("charge", "drawn", "overage"))
        charged[row["id"]] = (charge, drawn, over)
        if charge != drawn + over:
            faults.append(f"rating {row['id']}: {charge} is not {drawn} + {over}")
        tiers = json.loads(row["tiers"], parse_float=Decimal, parse_int=Decimal)
        parts = [number(str(tier["charge"])) for tier in tiers if "charge" in tier]
        if parts and sum(parts, ZERO) != charge:
            faults.append(f"rating {row['id']}: its parts come to {sum(parts, ZERO)}, not {charge}")
    waiting = 0
    for pk, window in windows.items():
        if pk not in rated:
            waiting += number(window["quantity"]) != 0
        elif rated[pk] != number(window["quantity"]):
            faults.append(f"window {pk} is rated as {rated[pk]}, not {window['quantity']}")
    left = f"{waiting} windows are not rated" if waiting else ""
    pack.note("ratings come to their windows", len(charged), faults, left)
    return charged


def check_ledger(pack, charged):
    """Grants come to what is left of them; what ratings drew is what the ledger says."""
    faults, count = [], 0
    left, drawn = defaultdict(Decimal), defaultdict(Decimal)
    for row in pack.rows("ledger"):
        count += 1
        left[row["grant"]] += number(row["credits"])
        if row["rated_usage"]:
            drawn[row["rated_usage"]] -= number(row["credits"])
    for row in pack.rows("grants"):
        if left[row["id"]] != number(row["remaining"]):
            faults.append(f"grant {row['id']} has {row['remaining']}, its ledger {left[row['id']]}")
    for pk, (_, said, _) in charged.items():
        if drawn.get(pk, ZERO) != said:
            faults.append(f"rating {pk} drew {said}, the ledger says {drawn.get(pk, ZERO)}")
    pack.note("grants and draws come to the ledger", count, faults)


def check_invoices(pack, charged):
    """Lines come to their usage, invoices to their lines, and what is open to the rest."""
    faults, behind = [], defaultdict(Decimal)
    for row in pack.rows("line_usage"):
        if row["rating"] not in charged:
            faults.append(f"rating {row['rating']} behind line {row['line']} is not in the pack")
            continue
        charge, _, over = charged[row["rating"]]
        behind[row["line"]] += over if row["kind"] == "overage" else charge
    sums, open_off, count = defaultdict(int), defaultdict(int), 0
    for row in pack.rows("invoice_lines"):
        count += 1
        sums[row["invoice"]] += int(row["amount_minor"]) + int(row["tax_minor"])
        if row["id"] in behind and behind[row["id"]] != number(row["quantity"]):
            faults.append(
                f"line {row['position']} of {row['invoice']} is over {row['quantity']},"
                f" its usage comes to {behind[row['id']]}"
            )
    for row in notes(pack):
        if not row["voided_at"]:
            open_off[row["invoice"]] += int(row["open_minor"])
    for row in pack.rows("invoices"):
        name, claimed = row["invoice"], int(row["total_minor"])
        if sums[name] != claimed:
            faults.append(f"{name} is over {claimed}, its lines come to {sums[name]}")
        parts = ("paid_minor", "applied_minor", "open_minor", "written_off_minor")
        settled = sum(int(row[part]) for part in parts) + open_off[name]
        if row["status"] != "void" and settled != claimed:
            faults.append(f"{name} is over {claimed}, what became of it comes to {settled}")
    pack.note("invoices come to their lines, lines to their usage", count, faults)


def notes(pack):
    """Yield one row of each credit note."""
    seen = set()
    for row in pack.rows("credit_notes"):
        if row["note"] not in seen:
            seen.add(row["note"])
            yield row


def check_notes(pack):
    """Notes come to their lines, and to what they settle."""
    faults, sums, count = [], defaultdict(int), 0
    for row in pack.rows("credit_notes"):
        sums[row["note"]] += int(row["amount_minor"]) + int(row["tax_minor"])
    for row in notes(pack):
        count += 1
        parts = ("open_minor", "balance_minor", "refund_minor", "out_of_band_minor")
        settled = sum(int(row[part]) for part in parts)
        if not sums[row["note"]] == settled == int(row["total_minor"]):
            faults.append(f"{row['note']}: lines {sums[row['note']]}, settled {settled}")
    pack.note("credit notes come to their lines", count, faults)


def framed(content):
    return b"%d:%s" % (len(content), content)


def written(fields):
    return b"".join(b"-" if one is None else framed(one.encode()) for one in fields)


def check_journal(pack):
    """Entries balance in each currency, and their hashes are those of what they say."""
    faults, sums, amounts = [], defaultdict(int), {}
    for row in pack.rows("journal"):
        sums[row["entry"], row["currency"]] += int(row["amount_minor"])
        amounts[row["entry"], row["position"]] = row["amount_minor"]
    faults += [f"JE-{key[0]} is off by {off} {key[1]}" for key, off in sums.items() if off]
    before, count = (None, None), 0
    with pack.archive.open("journal_sealed.jsonl") as lines:
        for line in lines:
            count += 1
            said = json.loads(line)
            name = f"JE-{said['entry']}"
            parts = [written(["journal-1", said["previous_sha256"]]), written(said["sealed"])]
            parts += [written(posting) for posting in said["postings"]]
            again = hashlib.sha256(b"".join(framed(part) for part in parts)).hexdigest()
            if again != said["sha256"]:
                faults.append(f"{name} is not what was sealed")
            if before[0] == said["position"] - 1 and before[1] != said["previous_sha256"]:
                faults.append(f"{name} does not follow the entry before it")
            for posting in said["postings"]:
                if amounts.get((str(said["entry"]), posting[0])) != posting[2]:
                    faults.append(f"{name} posts other amounts than were sealed")
            before = (said["position"], said["sha256"])
    pack.note("entries balance and are as they were sealed", count, faults)


def check_policies(pack):
    """Contents have their hashes; what is approved was approved by others than who proposed it."""
    faults, given, count = [], defaultdict(dict), 0
    for row in pack.rows("approvals"):
        given[row["policy"]][row["function"]] = row["by"]
    for row in pack.rows("policies"):
        count += 1
        if hashlib.sha256(row["content"].encode()).hexdigest() != row["content_sha256"]:
            faults.append(f"policy {row['id']} has another content than its hash")
        if row["status"] != "approved":
            continue
        missing = set(json.loads(row["needs"])) - set(given[row["id"]])
        faults += [f"policy {row['id']} lacks an approval of {name}" for name in sorted(missing)]
        if row["proposed_by"] in given[row["id"]].values():
            faults.append(f"policy {row['id']} was approved by who proposed it")
    pack.note("policies are approved by others, and as they were", count, faults)


def verify(path: str, out: TextIO = sys.stdout) -> int:
    """Check a pack, write what was found, and return the number of faults."""
    csv.field_size_limit(1 << 30)
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


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python verify.py PACK.zip")
    sys.exit(1 if verify(sys.argv[1]) else 0)
