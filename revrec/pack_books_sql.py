"""The audit pack's files of revenue and rules; see `pack_sql`, whose choice they join."""

from revrec.pack_sql import PackFile

PROMISES = PackFile(
    "promises",
    "performance obligations of these customers: what is recognised, out of what",
    """
SELECT o.source_key, o.kind, c.external_id, coalesce(i.number, ''), o.grant_id, o.currency,
       o.price_minor, o.recognised_minor
  FROM performance_obligation o JOIN pack_customer p ON p.id = o.customer_id
  JOIN customer c ON c.id = o.customer_id LEFT JOIN invoice_line l ON l.id = o.invoice_line_id
  LEFT JOIN invoice i ON i.id = l.invoice_id ORDER BY o.id
""",
    (
        ("promise", "our name of it, as the journal has it"),
        ("kind", "how it is satisfied"),
        ("customer", "the sender's id of the customer"),
        ("invoice", "number of the invoice that claims it, or nothing"),
        ("grant", "number of the grant that it is, or nothing"),
        ("currency", "of the amounts"),
        ("price_minor", "its share of the price, in minor units"),
        ("recognised_minor", "what is earned of it so far"),
    ),
)
POSTINGS = PackFile(
    "journal",
    "postings of the general ledger: debit positive",
    """
SELECT e.id, e.chain_position, e.effective_on::text, d.start_on::text, d.status, e.kind,
       e.description, x.position, x.account_id, a.name, x.amount_minor, x.currency,
       coalesce(c.external_id, ''), coalesce(o.source_key, ''), coalesce(i.number, ''),
       x.service_start_on::text, x.service_end_on::text, e.recorded_at, b.username, e.source_key,
       x.functional_minor, coalesce(x.functional_currency, ''), y.code, coalesce(x.model, '')
  FROM posting x JOIN pack_entry p ON p.id = x.entry_id JOIN journal_entry e ON e.id = x.entry_id
  JOIN accounting_period d ON d.id = e.period_id JOIN ledger_account a ON a.code = x.account_id
  JOIN legal_entity y ON y.id = e.entity_id
  JOIN kernel_user b ON b.id = e.recorded_by_id LEFT JOIN customer c ON c.id = x.customer_id
  LEFT JOIN performance_obligation o ON o.id = x.obligation_id
  LEFT JOIN invoice_line l ON l.id = x.invoice_line_id LEFT JOIN invoice i ON i.id = l.invoice_id
 ORDER BY e.entity_id, e.chain_position, x.position
""",
    (
        ("entry", "number of the entry: JE-7 is 7"),
        ("chain_position", "its place in the hash chain of its legal entity"),
        ("effective_on", "date in the books"),
        ("period", "first day of its month"),
        ("period_status", "open, soft or closed"),
        ("kind", "what happened"),
        ("description", "the same in words"),
        ("position", "place of the posting in the entry"),
        ("account", "code of the account"),
        ("account_name", "its name"),
        ("amount_minor", "debit positive, credit negative, in minor units"),
        ("currency", "of the amount"),
        ("customer", "the sender's id of the customer, or nothing"),
        ("promise", "our name of the performance obligation, or nothing"),
        ("invoice", "number of the invoice, or nothing"),
        ("service_start_on", "first day of the service, or nothing"),
        ("service_end_on", "first day after the service, or nothing"),
        ("recorded_at", "when it was posted"),
        ("by", "who posted it"),
        ("source_key", "our name of the state that the entry brings about"),
        ("functional_minor", "worth in the currency of the entity's books, where that is another"),
        ("functional_currency", "that currency, or nothing"),
        ("entity", "code of the legal entity whose books these are"),
        ("model", "whose use was earned, or nothing"),
    ),
)
SOURCES = PackFile(
    "journal_sources",
    "which fact each entry accounts for",
    """
SELECT o.entry_id, o.source_type, o.source_id, o.role
  FROM entry_source o JOIN pack_entry p ON p.id = o.entry_id ORDER BY o.entry_id, o.id
""",
    (
        ("entry", "number of the entry"),
        ("source_type", "kind of fact: ledger_transaction, rated_usage, invoice_line ..."),
        ("source", "its number, as in the other files"),
        ("role", "as what it is accounted for"),
    ),
)
POLICIES = PackFile(
    "policies",
    "rules that the pack's facts refer to, and those of the house, with their exact content",
    """
SELECT g.id, g.kind, g.subject, g.title, g.product_requirement, g.engineering_note, g.reason_code,
       g.effective_at, g.expires_at, g.status, g.needs::text, b.username, g.proposed_at,
       coalesce(d.username, ''), g.decided_at, g.decision_reason, g.content, g.content_sha256
  FROM policy_change g JOIN kernel_user b ON b.id = g.proposed_by_id
  LEFT JOIN kernel_user d ON d.id = g.decided_by_id
  JOIN pack_policy p ON p.id = g.id WHERE g.subject <> '' ORDER BY g.id
""",
    (
        ("id", "number of the policy change"),
        ("kind", "which rule"),
        ("subject", "which version of it"),
        ("title", "in words"),
        ("product_requirement", "what product wants"),
        ("engineering_note", "what engineering says"),
        ("reason_code", "why"),
        ("effective_at", "from when on it governs"),
        ("expires_at", "until when, or nothing"),
        ("status", "submitted, approved, rejected or withdrawn"),
        ("needs", "functions that must approve, as JSON"),
        ("proposed_by", "who proposed it"),
        ("proposed_at", "when"),
        ("decided_by", "who decided last"),
        ("decided_at", "when"),
        ("decision_reason", "why so"),
        ("content", "the whole version, as canonical JSON"),
        ("content_sha256", "hash of the content"),
    ),
)
APPROVALS = PackFile(
    "approvals",
    "who approved which policy change, and the hash of what they saw",
    """
SELECT a.change_id, a.function, b.username, a.at, a.sha256, a.reason
  FROM policy_approval a JOIN policy_change g ON g.id = a.change_id
  JOIN kernel_user b ON b.id = a.by_id
  JOIN pack_policy p ON p.id = g.id WHERE g.subject <> '' ORDER BY a.id
""",
    (
        ("policy", "number of the policy change"),
        ("function", "for whom they approved: finance or legal"),
        ("by", "who"),
        ("at", "when"),
        ("sha256", "hash over content, words and dates"),
        ("reason", "why"),
    ),
)
OWNERS = PackFile(
    "owners",
    "who answers for each step of the chain, since when",
    """
SELECT o.step, o.function, p.username, o.since_at, o.reason, n.username, o.named_at
  FROM step_owner o JOIN kernel_user p ON p.id = o.person_id
  JOIN kernel_user n ON n.id = o.named_by_id
 ORDER BY o.step, o.function, o.since_at
""",
    (
        ("step", "of the chain"),
        ("function", "product, engineering or finance"),
        ("person", "who answers"),
        ("since_at", "since when"),
        ("reason", "why they were named"),
        ("named_by", "by whom"),
        ("named_at", "when"),
    ),
)
FILES = (PROMISES, POSTINGS, SOURCES, POLICIES, APPROVALS, OWNERS)
# What an entry's hash covers, in its order: texts, and null where there is nothing (`chain`).
SEALED = """
SELECT y.code, e.id, e.chain_position, e.entry_sha256, e.previous_sha256, jsonb_build_array(
       e.chain_position::text, d.start_on::text, e.effective_on::text, e.kind, e.description,
       e.customer_id::text, e.posting_count::text, e.reverses_id::text, e.source_key,
       to_char(e.recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'),
       e.recorded_by_id::text)::text,
       (SELECT jsonb_agg(jsonb_build_array(x.position::text, x.account_id, x.amount_minor::text,
               x.currency, x.customer_id::text, x.obligation_id::text, x.invoice_line_id::text,
               x.service_start_on::text, x.service_end_on::text)
               || CASE WHEN x.functional_currency IS NULL THEN '[]'::jsonb ELSE
                  jsonb_build_array(x.functional_minor::text, x.functional_currency) END
               || CASE WHEN x.model IS NULL THEN '[]'::jsonb ELSE jsonb_build_array(x.model) END
               ORDER BY x.position)
          FROM posting x WHERE x.entry_id = e.id)::text
  FROM journal_entry e JOIN pack_entry p ON p.id = e.id JOIN legal_entity y ON y.id = e.entity_id
  JOIN accounting_period d ON d.id = e.period_id ORDER BY e.entity_id, e.chain_position
"""
