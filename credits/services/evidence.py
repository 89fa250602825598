"""Make an incident's evidence pack: a report to read, and the rows behind it with their hashes.

Both are kept as they were made; another pack of the same incident is another row.
"""

import csv
import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime

from billing_project.kernel import audit
from billing_project.kernel.exporting import safe_cell
from billing_project.kernel.models import User
from billing_project.kernel.money import Money
from billing_project.kernel.pdf import set_pdf
from billing_project.kernel.quantity import plain
from billing_project.kernel.sessions import kept_from_one_state
from credits.models import Anomaly, Incident, IncidentEvidence
from credits.selectors.incident_facts import MOST_ROWS, Facts, Rows, facts_of, files_of

_MANIFEST = "manifest.json"


def make_evidence(*, incident: Incident, by: User, at: datetime) -> IncidentEvidence:
    """Read everything in one state of the database, and keep both documents.

    Whoever calls this in a transaction begins that one with `kept_from_one_state`.
    """
    with kept_from_one_state():
        return _make(incident, by, at)


def _make(incident: Incident, by: User, at: datetime) -> IncidentEvidence:
    found = Incident.objects.select_related(
        "customer", "owner", "anomaly__pricing_unit", "opened_by"
    )
    incident = found.get(pk=incident.pk)
    tables = files_of(incident)
    contents = {rows.name: _text(rows) for rows in tables}
    files = [
        {"name": rows.name, "rows": len(rows.rows), "is_cut": rows.is_cut,
         "sha256": hashlib.sha256(contents[rows.name]).hexdigest()}
        for rows in tables
    ]  # fmt: skip
    report = _report(incident, facts_of(incident), files, at)
    pdf = set_pdf("evidence.typ", report, at)
    contents["report.pdf"] = pdf
    contents[_MANIFEST] = json.dumps({"incident": incident.pk, "made_at": at.isoformat(),
                                      "files": files}, indent=1).encode()  # fmt: skip
    archive = _zipped(contents, at)
    row = IncidentEvidence.objects.create(
        incident=incident, pdf=pdf, pdf_sha256=hashlib.sha256(pdf).digest(), archive=archive,
        archive_sha256=hashlib.sha256(archive).digest(), files=files, made_by=by, made_at=at,
    )  # fmt: skip
    audit.record(by=by, at=at, action="make_evidence", subject=incident, sha256=row.archive_digest)
    return row


def _text(rows: Rows) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(rows.columns)
    writer.writerows([safe_cell(cell) for cell in row] for row in rows.rows)
    return out.getvalue().encode()


def _zipped(contents: dict[str, bytes], at: datetime) -> bytes:
    """Put files into one archive; the same files at the same instant give the same bytes."""
    out = io.BytesIO()
    moment = at.astimezone(UTC)
    date = (moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(contents):
            info = zipfile.ZipInfo(name, date)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, contents[name])
    return out.getvalue()


def _report(
    incident: Incident, facts: Facts, files: Sequence[dict[str, object]], at: datetime
) -> dict[str, object]:
    """Gather what the template shows; every number is text already."""
    anomaly = incident.anomaly
    return {
        "number": f"INC-{incident.pk}",
        "title": incident.title,
        "made": _moment(at),
        "facts": [
            ["Customer", incident.customer.external_id if incident.customer else "all"],
            ["From", _moment(incident.start_at)],
            ["Until", _moment(incident.end_at)],
            ["Owner", incident.owner.username],
            ["State", incident.state],
            ["Opened", f"{_moment(incident.opened_at)}, {incident.opened_by.username}"],
        ],
        "figures": [
            ["Calls", f"{facts.calls:,}"],
            ["Calls of the same content, at most", f"{facts.repeated:,}"],
            *([f"Used in these full hours, {unit}", amount] for unit, amount in facts.credits),
            *(_of_anomaly(anomaly) if anomaly else []),
            *([f"Balance before, {unit}", amount] for unit, amount in facts.before),
            *([f"Balance after, {unit}", amount] for unit, amount in facts.after),
            *([f"Refused: {reason}", f"{count:,}"] for reason, count in facts.refused),
        ],
        "models": [[name, f"{amount} {unit}"] for name, unit, amount in facts.models],
        "actions": [
            [_moment(one.at), one.by.username, one.what]
            for one in incident.actions.select_related("by")
        ],
        "resolution": incident.resolution,
        "files": [[str(one["name"]), f"{one['rows']:,}", str(one["sha256"])] for one in files],
        "note": f"A file that has more than {MOST_ROWS:,} rows is cut there."
        if any(one["is_cut"] for one in files)
        else "",
    }


def _of_anomaly(anomaly: Anomaly) -> list[list[str]]:
    unit = anomaly.pricing_unit.code
    causes = ", ".join(
        f"{one['dimension']} {one['value']} ({one['percent']} %)" for one in anomaly.causes
    )
    rows = [
        ["Pattern", anomaly.get_pattern_display()],
        [f"Two worst hours, {unit}", plain(anomaly.observed)],
        [f"Usual there, {unit}", f"{anomaly.expected:.2f}"],
        ["Usual deviations", plain(anomaly.score)],
        ["Cause", causes or "-"],
    ]
    if anomaly.impact_minor is not None:
        impact = Money(anomaly.impact_minor, anomaly.currency)
        rows.append(["Impact at the price of a credit beyond", str(impact)])
    return rows


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
