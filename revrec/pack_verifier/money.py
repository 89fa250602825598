"""From usage windows to credits, invoices and what settled them."""

from collections import defaultdict
from decimal import Decimal

from .pack import ZERO, number, read_json


def check_ratings(pack, windows):
    """Ratings come to their windows; each charge to its tiers, and to its parts."""
    faults, rated, charged = [], defaultdict(Decimal), {}
    for row in pack.rows("ratings"):
        rated[row["window"]] += number(row["quantity"])
        charge, drawn, over = (number(row[name]) for name in ("charge", "drawn", "overage"))
        forgiven = number(row.get("forgiven") or "0")  # Packs of before have no such column.
        charged[row["id"]] = (charge, drawn, over)
        if charge != drawn + over + forgiven:
            faults.append(f"rating {row['id']}: {charge} is not {drawn} + {over} + {forgiven}")
        tiers = read_json(row["tiers"])
        for name, whole in (("charge", charge), ("quantity", number(row["quantity"]))):
            parts = [number(str(tier[name])) for tier in tiers if name in tier]
            if parts and sum(parts, ZERO) != whole:
                faults.append(f"rating {row['id']}: parts come to {sum(parts, ZERO)}, not {whole}")
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
    faults, sums, count = check_line_usage(pack, charged), defaultdict(int), 0
    off, credited, paid = defaultdict(int), defaultdict(int), defaultdict(int)
    for row in pack.rows("invoice_lines"):
        count += 1
        sums[row["invoice"]] += int(row["amount_minor"]) + int(row["tax_minor"])
    for row in notes(pack):
        if not row["voided_at"]:
            off[row["invoice"]] += int(row["open_minor"])
            credited[row["invoice"]] += int(row["total_minor"])
    for row in pack.rows("payments"):
        paid[row["invoice"]] += int(row["amount_minor"])
    for invoice, minor in short_payments(pack):
        off[invoice] += minor
    settled_by = ("paid_minor", "applied_minor", "open_minor", "written_off_minor")
    for row in pack.rows("invoices"):
        name, claimed = row["invoice"], int(row["total_minor"])
        if sums[name] != claimed:
            faults.append(f"{name} is over {claimed}, its lines come to {sums[name]}")
        settled = sum(int(row[part]) for part in settled_by) + off[name]
        wanted = 0 if row["status"] == "void" else claimed
        if settled != wanted:
            faults.append(f"{name} is over {wanted}, what became of it comes to {settled}")
        if (paid[name], credited[name]) != (int(row["paid_minor"]), int(row["credited_minor"])):
            faults.append(f"{name}: payments come to {paid[name]}, notes to {credited[name]}")
    pack.note("invoices come to their lines, lines to their usage", count, faults)


def check_line_usage(pack, charged):
    """Return where lines of usage do not come to it; a rating is claimed once as one kind."""
    faults, behind, claimed = [], defaultdict(Decimal), set()
    for row in pack.rows("line_usage"):
        if row["rating"] not in charged:
            faults.append(f"rating {row['rating']} behind line {row['line']} is not in the pack")
            continue
        if row["is_void"] != "true" and (row["rating"], row["kind"]) in claimed:
            faults.append(f"rating {row['rating']} is claimed twice")
        claimed.add((row["rating"], row["kind"]) if row["is_void"] != "true" else None)
        charge, _, over = charged[row["rating"]]
        behind[row["line"]] += over if row["kind"] == "overage" else charge
    for row in pack.rows("invoice_lines"):
        name, quantity = f"line {row['position']} of {row['invoice']}", number(row["quantity"])
        if row["kind"] in ("overage", "credits_used") and behind[row["id"]] != quantity:
            faults.append(f"{name} is over {quantity}, its usage comes to {behind[row['id']]}")
    return faults


def short_payments(pack):
    """Yield what payments fell short by and was accepted, by invoice."""
    for row in pack.rows("settlements"):
        if row["kind"] == "short_payment":
            yield row["invoice"], int(row["amount_minor"])


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
