"""What an audit pack holds: which facts are chosen, and each file's columns with their meaning.

Pure: texts only. The choice is made once, into temporary tables; every file is read by joining
them, in one state of the database. Quantities and amounts are exact text: technical units, credits
and minor units of money each in their own column.
"""

from dataclasses import dataclass

# By whom and when: all of it inside [start, end). Empty where the pack is of invoices.
_CHOOSE_SPAN = """
CREATE TEMPORARY TABLE pack_span ON COMMIT DROP AS
SELECT c.id AS customer_id, %(start)s::timestamptz AS start_at, %(end)s::timestamptz AS end_at
  FROM customer c
 WHERE %(start)s::timestamptz IS NOT NULL
   AND (%(customer)s::bigint IS NULL OR c.id = %(customer)s)
"""
_CHOOSE_INVOICES = """
CREATE TEMPORARY TABLE pack_invoice ON COMMIT DROP AS
SELECT i.id FROM invoice i JOIN pack_span s ON s.customer_id = i.customer_id
 WHERE i.finalized_at >= s.start_at AND i.finalized_at < s.end_at
UNION
SELECT l.invoice_id FROM pack_span s
  JOIN rated_usage r ON r.customer_id = s.customer_id
   AND r.service_at >= s.start_at AND r.service_at < s.end_at
  JOIN line_usage u ON u.rated_usage_id = r.id JOIN invoice_line l ON l.id = u.line_id
  JOIN invoice i ON i.id = l.invoice_id AND i.status <> 'draft'
UNION
SELECT i.id FROM invoice i WHERE i.number = ANY (%(invoices)s)
"""
_CHOOSE_WINDOWS = """
CREATE TEMPORARY TABLE pack_window ON COMMIT DROP AS
SELECT w.id FROM usage_window w JOIN pack_span s ON s.customer_id = w.customer_id
 WHERE w.start_at >= s.start_at AND w.start_at < s.end_at
UNION
SELECT r.window_id FROM pack_invoice i JOIN invoice_line l ON l.invoice_id = i.id
  JOIN line_usage u ON u.line_id = l.id JOIN rated_usage r ON r.id = u.rated_usage_id
"""
_CHOOSE_RATED = """
CREATE TEMPORARY TABLE pack_rated ON COMMIT DROP AS
SELECT r.id FROM rated_usage r JOIN pack_window w ON w.id = r.window_id
"""
# Stretches of time whose events are in the pack; none of one customer overlap.
_CHOOSE_RANGES = """
CREATE TEMPORARY TABLE pack_range ON COMMIT DROP AS
SELECT customer_id, start_at, end_at FROM pack_span
UNION
SELECT w.customer_id, w.start_at, w.start_at + interval '1 hour'
  FROM usage_window w JOIN pack_window p ON p.id = w.id
 WHERE NOT EXISTS (SELECT FROM pack_span s WHERE s.customer_id = w.customer_id
                      AND w.start_at >= s.start_at AND w.start_at < s.end_at)
"""
_CHOOSE_GRANTS = """
CREATE TEMPORARY TABLE pack_grant ON COMMIT DROP AS
SELECT t.grant_id AS id FROM ledger_transaction t
  JOIN rated_usage r ON r.id = t.rated_usage_id JOIN pack_rated p ON p.id = r.id
UNION
SELECT t.grant_id FROM ledger_transaction t JOIN pack_span s ON s.customer_id = t.customer_id
 WHERE t.effective_at >= s.start_at AND t.effective_at < s.end_at
"""
# What settled the pack's invoices: by kind of fact, as the journal names its sources.
_CHOOSE_SETTLEMENTS = """
CREATE TEMPORARY TABLE pack_settlement ON COMMIT DROP AS
SELECT 'payment' AS kind, y.id FROM payment y JOIN pack_invoice p ON p.id = y.invoice_id
UNION SELECT 'short_payment', h.id FROM short_payment h
  JOIN pack_invoice p ON p.id = h.invoice_id
UNION SELECT 'credit_note', n.id FROM credit_note n JOIN pack_invoice p ON p.id = n.invoice_id
UNION SELECT 'balance_application', a.id FROM balance_application a
  JOIN pack_invoice p ON p.id = a.invoice_id
UNION SELECT 'refund', r.id FROM refund r JOIN credit_note n ON n.id = r.credit_note_id
  JOIN pack_invoice p ON p.id = n.invoice_id
UNION SELECT 'dispute', d.id FROM dispute d JOIN pack_invoice p ON p.id = d.invoice_id
UNION SELECT 'write_off', o.id FROM write_off o JOIN pack_invoice p ON p.id = o.invoice_id
UNION SELECT 'invoice_void', v.id FROM invoice_void v JOIN pack_invoice p ON p.id = v.invoice_id
"""
# A span's entries go by their date; of all customers also those that are nobody's.
_CHOOSE_ENTRIES = """
CREATE TEMPORARY TABLE pack_entry ON COMMIT DROP AS
SELECT e.id FROM journal_entry e
 WHERE e.effective_on >= (%(start)s::timestamptz AT TIME ZONE %(zone)s)::date
   AND e.effective_on < (%(end)s::timestamptz AT TIME ZONE %(zone)s)::date
   AND (%(customer)s::bigint IS NULL OR e.customer_id = %(customer)s)
UNION
SELECT o.entry_id FROM entry_source o
  JOIN pack_settlement s ON s.kind = o.source_type AND s.id = o.source_id
 WHERE o.entry_id IS NOT NULL
UNION
SELECT p.entry_id FROM posting p JOIN invoice_line l ON l.id = p.invoice_line_id
  JOIN pack_invoice i ON i.id = l.invoice_id
UNION
SELECT o.entry_id FROM entry_source o JOIN pack_rated r ON r.id = o.source_id
 WHERE o.source_type = 'rated_usage' AND o.entry_id IS NOT NULL
UNION
SELECT o.entry_id FROM entry_source o JOIN ledger_transaction t ON t.id = o.source_id
  JOIN pack_rated r ON r.id = t.rated_usage_id
 WHERE o.source_type = 'ledger_transaction' AND o.entry_id IS NOT NULL
"""
_CHOOSE_CUSTOMERS = """
CREATE TEMPORARY TABLE pack_customer ON COMMIT DROP AS
SELECT customer_id AS id FROM pack_span
UNION SELECT i.customer_id FROM invoice i JOIN pack_invoice p ON p.id = i.id
"""
# Every event that counts, once; the meters read from here, where PostgreSQL knows how many.
_CHOOSE_USED = """
CREATE TEMPORARY TABLE pack_used ON COMMIT DROP AS
SELECT e.*, 1 AS sign FROM pack_range g JOIN used_meter_event e
    ON e.customer_id = g.customer_id
   AND e."timestamp" >= g.start_at AND e."timestamp" < g.end_at
"""
# All rules of a pack of all customers; else those that its facts refer to, and the house's own.
_CHOOSE_POLICIES = """
CREATE TEMPORARY TABLE pack_policy ON COMMIT DROP AS
SELECT g.id FROM policy_change g WHERE %(start)s::timestamptz IS NOT NULL
   AND %(customer)s::bigint IS NULL AND g.effective_at < %(end)s
UNION SELECT v.policy_change_id FROM rated_usage r JOIN pack_rated p ON p.id = r.id
  JOIN rate_card_version v ON v.id = r.rate_card_version_id
UNION SELECT y.policy_change_id FROM credit_policy y
UNION SELECT v.policy_change_id FROM subscription s JOIN pack_customer p ON p.id = s.customer_id
  JOIN plan_version v ON v.id = s.plan_version_id
UNION SELECT v.policy_change_id FROM subscription s JOIN pack_customer p ON p.id = s.customer_id
  JOIN subscription_change x ON x.subscription_id = s.id
  JOIN plan_version v ON v.id = x.plan_version_id
UNION SELECT policy_change_id FROM late_event_policy
UNION SELECT policy_change_id FROM market_gate
UNION SELECT policy_change_id FROM tax_rate
UNION SELECT policy_change_id FROM invoice_policy
UNION SELECT policy_change_id FROM payment_tolerance
UNION SELECT policy_change_id FROM exchange_sheet
UNION SELECT policy_change_id FROM disclosure_policy
UNION SELECT policy_change_id FROM loss_estimate
UNION SELECT b.policy_change_id FROM grant_basis b JOIN pack_grant p ON p.id = b.grant_id
UNION SELECT a.policy_change_id FROM contract_allocation a
  JOIN pack_customer p ON p.id = a.customer_id
UNION SELECT m.policy_change_id FROM contract_modification m
  JOIN pack_customer p ON p.id = m.customer_id
UNION SELECT policy_change_id FROM recognition_policy
UNION SELECT policy_change_id FROM legal_entity_version
"""
CHOICE = (
    _CHOOSE_SPAN,
    _CHOOSE_INVOICES,
    _CHOOSE_WINDOWS,
    _CHOOSE_RATED,
    _CHOOSE_RANGES,
    _CHOOSE_GRANTS,
    _CHOOSE_SETTLEMENTS,
    _CHOOSE_ENTRIES,
    _CHOOSE_CUSTOMERS,
    _CHOOSE_POLICIES,
    _CHOOSE_USED,
    "ANALYZE pack_span; ANALYZE pack_invoice; ANALYZE pack_window; ANALYZE pack_rated;"
    " ANALYZE pack_range; ANALYZE pack_grant; ANALYZE pack_settlement; ANALYZE pack_entry;"
    " ANALYZE pack_customer; ANALYZE pack_policy; ANALYZE pack_used",
)
# What the meters read, as `reading_sql` defines it, kept before it is joined: its size is not
# known to PostgreSQL until it is counted.
READ_EVENTS = "(SELECT * FROM pack_used e WHERE {is_aggregated})"
KEEP_READINGS = """
CREATE TEMPORARY TABLE pack_reading ON COMMIT DROP AS
SELECT *, encode(sha256(convert_to(dimensions, 'UTF8')), 'hex') AS dimensions_key
  FROM ({readings}) r;
ANALYZE pack_reading
"""
READINGS = """
SELECT w.id, c.external_id, r.identifier, r.value FROM pack_reading r
  JOIN usage_window w ON w.customer_id = r.customer_id AND w.meter_id = r.meter_id
   AND w.start_at = r.start_at AND w.workspace_id IS NOT DISTINCT FROM r.workspace_id
   AND w.dimensions_key = r.dimensions_key
  JOIN pack_window p ON p.id = w.id JOIN customer c ON c.id = w.customer_id
"""
# A meter's values as text, whatever they are, so that those of all meters stand in one file.
AS_TEXT = """
SELECT meter_id, customer_id, workspace_id, start_at, dimensions, identifier, {value} AS value
  FROM ({rows}) r
"""


@dataclass(frozen=True)
class PackFile:
    """One file of rows: where they come from, and what each column means, in their order."""

    name: str
    about: str
    query: str
    fields: tuple[tuple[str, str], ...]


CUSTOMERS = PackFile(
    "customers",
    "who is in the pack",
    """
SELECT c.external_id, c.name, c.currency, c.time_zone, c.country, c.created_at
  FROM customer c JOIN pack_customer p ON p.id = c.id ORDER BY c.id
""",
    (
        ("customer", "the sender's id of the customer"),
        ("name", "as it is now"),
        ("currency", "of its account"),
        ("time_zone", "in which its days and months are cut"),
        ("country", "two letters, or nothing"),
        ("created_at", "when it was made"),
    ),
)
METERS = PackFile(
    "meters",
    "how events are counted: every version of each meter that counted here",
    """
SELECT m.code, v.number, m.aggregation, m.unit, v.event_name, v.value_property,
       trim_scale(v.constant_value)::text, v.filters::text, v.dimensions::text, v.rounding_mode,
       v.rounding_decimals, v.effective_at, v.is_active, v.reason
  FROM meter m JOIN meter_version v ON v.meter_id = m.id
 WHERE m.id IN (SELECT w.meter_id FROM usage_window w JOIN pack_window p ON p.id = w.id)
 ORDER BY m.code, v.number
""",
    (
        ("meter", "code of the meter"),
        ("version", "number of the version"),
        ("aggregation", "sum, count, max, min, last, unique or time_weighted_sum"),
        ("unit", "what is counted"),
        ("event_name", "which events it reads"),
        ("value_property", "which property of an event is its value, or nothing"),
        ("constant_value", "what each event counts in place of a property, or nothing"),
        ("filters", "which properties an event must have, as JSON"),
        ("dimensions", "properties that split the quantity, as JSON"),
        ("rounding_mode", "how a value is rounded"),
        ("rounding_decimals", "to how many decimals"),
        ("effective_at", "from when on it reads; the first version has none"),
        ("is_active", "an inactive version reads nothing"),
        ("reason", "why it was made"),
    ),
)
EVENTS = PackFile(
    "events",
    "raw usage as it was reported, cancelled events among them",
    """
SELECT e.id, c.external_id, coalesce(k.external_id, ''), e.event_name, e.identifier,
       e."timestamp", e.received_at, e.properties::text,
       a.type IS NOT DISTINCT FROM 'cancel', coalesce(a.properties, e.properties)::text
  FROM pack_range g
  JOIN meter_event e ON e.customer_id = g.customer_id
   AND e."timestamp" >= g.start_at AND e."timestamp" < g.end_at
  JOIN customer c ON c.id = e.customer_id LEFT JOIN workspace k ON k.id = e.workspace_id
  LEFT JOIN LATERAL (SELECT type, properties FROM meter_event_adjustment
                      WHERE event_id = e.id ORDER BY id + 0 DESC LIMIT 1) a ON true
""",
    (
        ("id", "our number of the event, in the order of storing"),
        ("customer", "the sender's id of the customer"),
        ("workspace", "the sender's id of the workspace, or nothing"),
        ("event_name", "which meters read it"),
        ("identifier", "the sender's key: billed at most once for the customer, for ever"),
        ("timestamp", "when it happened"),
        ("received_at", "when it was stored"),
        ("properties", "what was reported, as JSON with every digit"),
        ("is_cancelled", "whether it counts no more"),
        ("counted_properties", "what counts: as amended, else as reported"),
    ),
)
ADJUSTMENTS = PackFile(
    "adjustments",
    "formal corrections of single events; the newest of an event governs",
    """
SELECT a.id, c.external_id, a.identifier, a.type, a.properties::text, a.reason, u.username,
       a.created_at, a.backfill_id
  FROM meter_event_adjustment a JOIN pack_range g ON g.customer_id = a.customer_id
   AND a."timestamp" >= g.start_at AND a."timestamp" < g.end_at
  JOIN customer c ON c.id = a.customer_id JOIN kernel_user u ON u.id = a.created_by_id
""",
    (
        ("id", "number of the adjustment"),
        ("customer", "the sender's id of the customer"),
        ("identifier", "of the event"),
        ("type", "cancel, amend or reinstate"),
        ("properties", "what counts from then on, as JSON, or nothing"),
        ("reason", "why"),
        ("by", "who made it"),
        ("at", "when"),
        ("backfill", "number of the backfill that it is part of, or nothing"),
    ),
)
UNMATCHED = PackFile(
    "unmatched",
    "reports that were kept and not billed, with what became of them",
    """
SELECT q.id, q.customer_external_id, q.event_name, q.identifier, q."timestamp",
       q.properties::text, q.reason, q.detail, q.state, q.received_at, q.resolved_at,
       coalesce(u.username, ''), q.resolution
  FROM quarantined_event q LEFT JOIN kernel_user u ON u.id = q.resolved_by_id
  LEFT JOIN customer c ON c.external_id = q.customer_external_id
  LEFT JOIN customer_alias l ON l.external_id = q.customer_external_id
 WHERE EXISTS (SELECT FROM pack_range g
                WHERE g.customer_id = coalesce(c.id, l.customer_id)
                  AND q."timestamp" >= g.start_at AND q."timestamp" < g.end_at)
    OR EXISTS (SELECT FROM invoice i JOIN pack_invoice p ON p.id = i.id
                WHERE i.customer_id = coalesce(c.id, l.customer_id)
                  AND q."timestamp" >= i.service_start_at AND q."timestamp" < i.service_end_at)
    OR (%(is_of_all)s AND q."timestamp" >= %(start)s AND q."timestamp" < %(end)s)
 ORDER BY q.id
""",
    (
        ("id", "number of the report"),
        ("customer", "as its sender wrote it"),
        ("event_name", "as its sender wrote it"),
        ("identifier", "the sender's key"),
        ("timestamp", "when it happened"),
        ("properties", "what was reported, as JSON"),
        ("reason", "why it could not count"),
        ("detail", "the same in words"),
        ("state", "open, replayed, amended or dismissed"),
        ("received_at", "when it was kept"),
        ("resolved_at", "when it was decided, or nothing"),
        ("resolved_by", "who decided, or nothing"),
        ("resolution", "why so"),
    ),
)
WINDOWS = PackFile(
    "windows",
    "quantities by the hour: what the events come to",
    """
SELECT w.id, c.external_id, m.code, coalesce(k.external_id, ''), w.dimensions::text, w.start_at,
       trim_scale(w.quantity)::text, m.unit, w.event_count, w.revision
  FROM usage_window w JOIN pack_window p ON p.id = w.id JOIN customer c ON c.id = w.customer_id
  JOIN meter m ON m.id = w.meter_id LEFT JOIN workspace k ON k.id = w.workspace_id
""",
    (
        ("id", "number of the window"),
        ("customer", "the sender's id of the customer"),
        ("meter", "code of the meter"),
        ("workspace", "the sender's id of the workspace, or nothing"),
        ("dimensions", "which part of the usage, as JSON"),
        ("start_at", "start of the hour, UTC"),
        ("quantity", "in the meter's unit"),
        ("unit", "what is counted"),
        ("event_count", "how many events it is made of"),
        ("revision", "how often it changed"),
    ),
)
READING = PackFile(
    "readings",
    "which event counts in which window, with which value",
    "",  # Made of the meters' own texts: READINGS.
    (
        ("window", "number of the window"),
        ("customer", "the sender's id of the customer"),
        ("identifier", "of the event"),
        ("value", "what the meter reads from it"),
    ),
)
