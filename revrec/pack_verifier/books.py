"""The journal as it was sealed, and the rules as they were approved."""

import hashlib
import json
from collections import defaultdict

from .pack import moment, plain


def framed(content):
    return b"%d:%s" % (len(content), content)


def written(fields):
    return b"".join(b"-" if one is None else framed(one.encode()) for one in fields)


# Columns of journal.csv that are sealed too: of an entry, and of a posting, by their place there.
OF_ENTRY = {"chain_position": 0, "period": 1, "effective_on": 2, "kind": 3, "description": 4}
OF_ENTRY["source_key"] = 8
OF_POSTING = {"position": 0, "account": 1, "amount_minor": 2, "currency": 3}
OF_POSTING.update(service_start_on=7, service_end_on=8)
WORTH = ("functional_minor", "functional_currency")  # In packs of before nowhere.


def check_journal(pack):
    """Entries balance in each currency, and say what was sealed."""
    faults, sums, posted = [], defaultdict(int), {}
    for row in pack.rows("journal"):
        sums[row["entry"], row["currency"]] += int(row["amount_minor"])
        if row.get("functional_currency"):
            books = f"{row['functional_currency']} in its books"
            sums[row["entry"], books] += int(row["functional_minor"])
        posted[row["entry"], row["position"]] = row
    faults += [f"JE-{key[0]} is off by {off} {key[1]}" for key, off in sums.items() if off]
    before, count = (None, None, None), 0
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
            place = (said["entity"], said["position"] - 1)
            if before[:2] == place and before[2] != said["previous_sha256"]:
                faults.append(f"{name} does not follow the entry before it")
            for posting in said["postings"]:
                row = posted.pop((str(said["entry"]), posting[0]), None)
                if row is None or not is_as_sealed(row, said["sealed"], posting):
                    faults.append(f"{name} is written out otherwise than it was sealed")
            before = (said["entity"], said["position"], said["sha256"])
            head = pack.manifest["journal_heads"][said["entity"]]
            if head["position"] == said["position"] and head["sha256"] != said["sha256"]:
                faults.append(f"{name} is not the head of its chain")
    faults += [f"JE-{entry} was never sealed" for entry, _ in posted]
    pack.note("entries balance and are as they were sealed", count, faults)


def is_as_sealed(row, entry, posting):
    """Compare a row of the journal with what its entry's hash covers."""
    pairs = [(name, entry[place]) for name, place in OF_ENTRY.items()]
    pairs += [(name, posting[place]) for name, place in OF_POSTING.items()]
    pairs += [(name, sealed) for name, sealed in if_told(posting[9:]).items() if name in row]
    return all(row[name] == plain(sealed or "") for name, sealed in pairs)


def if_told(fields):
    """Name what is sealed only where it is told: a worth has two fields, a model one."""
    worth = fields[:2] if len(fields) > 1 else (None, None)
    model = fields[-1] if len(fields) % 2 else None
    return dict(zip(WORTH, worth, strict=True), model=model)


def check_policies(pack):
    """Contents have their hashes; what is approved was approved by others, as they saw it."""
    faults, given, count = [], defaultdict(list), 0
    for row in pack.rows("approvals"):
        given[row["policy"]].append(row)
    for row in pack.rows("policies"):
        count += 1
        if hashlib.sha256(row["content"].encode()).hexdigest() != row["content_sha256"]:
            faults.append(f"policy {row['id']} has another content than its hash")
        if row["status"] != "approved":
            continue
        approvals = given[row["id"]]
        missing = (set(json.loads(row["needs"])) or {"anybody"}) - {
            a["function"] for a in approvals
        }
        faults += [f"policy {row['id']} lacks an approval of {name}" for name in sorted(missing)]
        for approval in approvals:
            if approval["by"] == row["proposed_by"]:
                faults.append(f"policy {row['id']} was approved by who proposed it")
            if approval["sha256"] != digest_of(row):
                faults.append(f"policy {row['id']} is not what {approval['by']} approved")
    pack.note("policies are approved by others, and as they were", count, faults)


def digest_of(row):
    """Return the hash over all that an approver saw of a policy change."""
    names = ("kind", "subject", "title", "product_requirement", "engineering_note", "reason_code")
    texts = [row[name] for name in names]
    texts += [signed_moment(row["effective_at"]), signed_moment(row["expires_at"]), row["content"]]
    return hashlib.sha256(json.dumps(texts, ensure_ascii=False).encode()).hexdigest()


def signed_moment(text):
    """Write an instant, which is in UTC, as it is signed."""
    if not text:
        return ""
    return moment(text).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
