"""Rebuilding as SQL text: what is put aside, taken away, and put back as it was.

Pure: texts. `recorded_*` are temporary copies of what stood before. Nothing of this outlives its
transaction.
"""

# What follows from what came in, and is worked out again; tables of each room in their order.
WINDOWS = ("usage_window", "usage_level")
CREDITS = ("rated_usage", "ledger_transaction", "claw_back", "credit_grant")
SUMS = ("window_rating", "rate_total")
JOURNAL = (
    "posting", "entry_source", "journal_entry", "revenue_schedule_line", "revenue_schedule",
    "used_credits", "books_mark", "performance_obligation",
)  # fmt: skip
KEPT = (*WINDOWS, *CREDITS, "entry_source", "journal_entry", "accounting_period")
REBUILT = (*WINDOWS, *CREDITS, *SUMS, *JOURNAL)
CHANGED = (*REBUILT, "event_batch", "accounting_period", "outbox_message")

REFERENCES = """
SELECT conrelid::regclass::text, conname FROM pg_constraint
 WHERE contype = 'f' AND confrelid::regclass::text = ANY (%s) AND conparentid = 0
"""
KEEP = "CREATE TEMPORARY TABLE recorded_{table} ON COMMIT DROP AS SELECT * FROM {table}"
INDEXES = (
    "CREATE INDEX ON recorded_usage_window (customer_id, meter_id, start_at, dimensions_key)",
    "CREATE INDEX ON recorded_ledger_transaction (source_key)",
    "CREATE INDEX ON recorded_rated_usage (source_key)",
    "CREATE INDEX ON recorded_entry_source (id)",
    "ANALYZE recorded_usage_window; ANALYZE recorded_ledger_transaction;"
    " ANALYZE recorded_rated_usage; ANALYZE recorded_entry_source",
)
KEEP_LINES = (
    "CREATE TEMPORARY TABLE recorded_line (part text, line text) ON COMMIT DROP",
    "CREATE TEMPORARY TABLE rebuilt_line (part text, line text) ON COMMIT DROP",
)
KEEP_PART = "INSERT INTO {table} SELECT '{part}', line FROM ({query}) AS said (line)"
# How often each line stood, less how often it stands: {0} what was, {1} what is.
DIFFERENCES = """
SELECT part, line, sum(n)::int FROM (
    SELECT part, line, 1 AS n FROM recorded_line
    UNION ALL SELECT part, line, -1 FROM rebuilt_line) both_
 GROUP BY part, line HAVING sum(n) <> 0
 ORDER BY array_position(%s::text[], part), line COLLATE "C" LIMIT %s
"""

SETTLED_UNTIL = "SELECT max(settled_until) FROM recorded_usage_level"
FORGET_WINDOWS = (
    "DELETE FROM usage_window",
    "DELETE FROM usage_level",
    "DELETE FROM outbox_message",
    "UPDATE event_batch SET aggregated_at = NULL",
)
# A window that is made again is the one that was: rows above refer to it.
NAME_WINDOWS = """
UPDATE usage_window w SET id = r.id, revision = r.revision FROM recorded_usage_window r
 WHERE r.customer_id = w.customer_id AND r.meter_id = w.meter_id AND r.start_at = w.start_at
   AND r.dimensions_key = w.dimensions_key AND r.workspace_id IS NOT DISTINCT FROM w.workspace_id
"""
# What is empty now (all that was used was cancelled) has no events to be made of.
EMPTY_WINDOWS = """
INSERT INTO usage_window SELECT r.* FROM recorded_usage_window r
 WHERE r.quantity = 0 AND r.event_count = 0
   AND NOT EXISTS (SELECT FROM usage_window w WHERE w.id = r.id)
"""

FACTS_OF_CUSTOMERS = """
SELECT c.id, count(r.id) FROM customer c LEFT JOIN recorded_rated_usage r ON r.customer_id = c.id
 GROUP BY c.id ORDER BY c.id
"""
FORGET_CREDITS = (
    "DELETE FROM ledger_transaction WHERE customer_id = ANY (%(customers)s)",
    "DELETE FROM rated_usage WHERE customer_id = ANY (%(customers)s)",
    "DELETE FROM claw_back WHERE customer_id = ANY (%(customers)s)",
    "DELETE FROM window_rating s USING usage_window w"
    " WHERE w.id = s.window_id AND w.customer_id = ANY (%(customers)s)",
    "DELETE FROM rate_total s USING billing_period p"
    " WHERE p.id = s.billing_period_id AND p.customer_id = ANY (%(customers)s)",
    # Grants of credits that came back too late: usage made them.
    "DELETE FROM credit_grant WHERE customer_id = ANY (%(customers)s)"
    " AND source_key LIKE 'window:%%'",
    "UPDATE credit_grant SET remaining = 0 WHERE customer_id = ANY (%(customers)s)",
)
NAMES_OF_USAGE = """
SELECT source_key, id, position FROM recorded_rated_usage WHERE customer_id = %s
"""
NAMES_OF_ENTRIES = """
SELECT source_key, id, position FROM recorded_ledger_transaction WHERE customer_id = %s
"""
# What a person or time did, as it was; the guards watch.
ENTRIES_AS_THEY_WERE = """
INSERT INTO ledger_transaction SELECT * FROM recorded_ledger_transaction
 WHERE source_key = ANY (%s) ORDER BY position
"""
USAGE_AS_IT_WAS = "INSERT INTO rated_usage SELECT * FROM recorded_rated_usage WHERE source_key = %s"
CLAW_BACK_AS_IT_WAS = """
INSERT INTO claw_back SELECT r.* FROM recorded_claw_back r
 WHERE r.id = %(id)s OR r.follows_id = %(id)s ORDER BY r.follows_id NULLS FIRST, r.id
"""
LINKED_GRANTS = """
SELECT g.id, r.id FROM credit_grant g JOIN recorded_credit_grant r USING (source_key)
 WHERE g.customer_id = %s AND g.source_key LIKE 'window:%%' AND g.id <> r.id
"""
NAME_GRANT = (
    "UPDATE ledger_transaction SET grant_id = %(old)s WHERE grant_id = %(new)s",
    "UPDATE ledger_transaction SET source_key = regexp_replace(source_key,"
    " '(^|:)grant:' || %(new)s || '(:|$)', '\\1grant:' || %(old)s || '\\2')"
    " WHERE grant_id = %(old)s",
    "UPDATE ledger_transaction t SET id = r.id, position = r.position"
    " FROM recorded_ledger_transaction r WHERE r.source_key = t.source_key"
    " AND t.grant_id = %(old)s AND t.id <> r.id",
    "UPDATE credit_grant SET root_id = %(old)s WHERE root_id = %(new)s",
    "UPDATE credit_grant SET origin_id = %(old)s WHERE origin_id = %(new)s",
    "UPDATE credit_grant SET id = %(old)s WHERE id = %(new)s",
)
GRANTS_OF_NOTE = """
INSERT INTO credit_grant SELECT (g).* FROM (
    SELECT jsonb_populate_record(r, '{"remaining": 0}') AS g FROM recorded_credit_grant r
     WHERE r.source_key LIKE %s) x
"""

FORGET_JOURNAL = tuple(f"DELETE FROM {table}" for table in JOURNAL)  # noqa: S608 - names above
OPEN_MONTHS = """
UPDATE accounting_period SET status = 'open', soft_closed_at = NULL, soft_closed_by_id = NULL,
       closed_at = NULL, closed_by_id = NULL, trial_balance = '[]', trial_balance_sha256 = '',
       checklist = '[]'
"""
CLOSES = """
SELECT id, closed_at FROM recorded_accounting_period WHERE status = 'closed' ORDER BY start_on
"""
# Sources are numbered as they were looked at. Known by a close is what was posted until its seal;
# where none was made, what is dated inside the month. Instants do not tell: clocks can be set.
KNOWN_AT = """
SELECT coalesce(max(s.id), 0) FROM recorded_entry_source s
  JOIN recorded_journal_entry e ON e.id = s.entry_id
  JOIN recorded_accounting_period p ON p.id = e.period_id
 WHERE p.start_on <= (SELECT start_on FROM recorded_accounting_period WHERE id = %(period)s)
    OR e.id <= (SELECT max(h.id) FROM ledger_seal l JOIN recorded_journal_entry h
                    ON h.entry_sha256 = l.head_sha256 WHERE l.period_id = %(period)s)
"""
HIDE = (
    "CREATE TEMPORARY TABLE hidden ON COMMIT DROP AS SELECT source_type, source_id, role"
    " FROM recorded_entry_source WHERE id > %(known)s AND source_type <> 'schedule_line'",
    "INSERT INTO entry_source (source_type, source_id, role)"
    " SELECT source_type, source_id, role FROM hidden",
    # With all that a customer's books read after it: they are marked through an id.
    *(
        f"DELETE FROM {table} t USING (SELECT r.customer_id, min(r.id) AS first FROM hidden h"  # noqa: S608
        f" JOIN {table} r ON r.id = h.source_id AND h.source_type = '{table}' GROUP BY 1) f"
        " WHERE t.customer_id = f.customer_id AND t.id >= f.first"
        for table in ("rated_usage", "ledger_transaction")
    ),
)
SHOW = (
    *(
        f"INSERT INTO {table} SELECT r.* FROM rebuilt_{table} r"  # noqa: S608
        f" WHERE NOT EXISTS (SELECT FROM {table} t WHERE t.id = r.id)"
        for table in ("rated_usage", "ledger_transaction")
    ),
    "DELETE FROM entry_source s USING hidden h WHERE s.source_type = h.source_type"
    " AND s.source_id = h.source_id AND s.role = h.role AND s.entry_id IS NULL",
    "DROP TABLE hidden",
)
KEEP_REBUILT = (
    "CREATE TEMPORARY TABLE rebuilt_rated_usage ON COMMIT DROP AS SELECT * FROM rated_usage",
    "CREATE TEMPORARY TABLE rebuilt_ledger_transaction ON COMMIT DROP AS"
    " SELECT * FROM ledger_transaction",
)
CLOSE_MONTH = """
UPDATE accounting_period p SET status = r.status, soft_closed_at = r.soft_closed_at,
       soft_closed_by_id = r.soft_closed_by_id, closed_at = r.closed_at,
       closed_by_id = r.closed_by_id, trial_balance = r.trial_balance,
       trial_balance_sha256 = r.trial_balance_sha256, checklist = r.checklist
  FROM recorded_accounting_period r WHERE r.id = p.id AND p.id = %s
"""
LAST_RUNS = """
SELECT customer_id, max(recorded_at) FROM recorded_journal_entry
 WHERE customer_id IS NOT NULL GROUP BY customer_id
"""
LAST_RUN = "SELECT max(recorded_at) FROM recorded_journal_entry"
