"""The audit pack's files of credits, money and revenue; see `pack_sql`, whose choice they join."""

from revrec.pack_sql import PackFile

RATINGS = PackFile(
    "ratings",
    "what usage was charged in credits, and how it was paid: a row for each change of a window",
    """
SELECT r.id, r.window_id, r.window_revision, r.service_at, c.code, v.number,
       trim_scale(r.quantity)::text, trim_scale(r.charge)::text, trim_scale(r.drawn)::text,
       trim_scale(r.overage)::text, r.tiers::text, r.rated_at, r.source_key
  FROM rated_usage r JOIN pack_rated p ON p.id = r.id
  JOIN rate_card_version v ON v.id = r.rate_card_version_id
  JOIN rate_card c ON c.id = v.rate_card_id
""",
    (
        ("id", "number of the row"),
        ("window", "number of the window"),
        ("window_revision", "which change of it"),
        ("service_at", "when it was used"),
        ("rate_card", "code of the rate card"),
        ("version", "number of its version"),
        ("quantity", "change of the window's quantity"),
        ("charge", "in credits: drawn + overage"),
        ("drawn", "credits that grants paid"),
        ("overage", "credits beyond the grants"),
        ("tiers", "each part with its quantity, price and charge, as JSON"),
        ("rated_at", "when"),
        ("source_key", "our name of the fact: rated once"),
    ),
)
GRANTS = PackFile(
    "grants",
    "credits given to customers",
    """
SELECT g.id, c.external_id, u.code, g.category, g.name, trim_scale(g.amount)::text,
       trim_scale(g.remaining)::text, g.price_minor, g.currency, g.priority, g.effective_at,
       g.expires_at, g.origin_id, g.reason_code, b.username, g.created_at, g.source_key
  FROM credit_grant g JOIN pack_grant p ON p.id = g.id JOIN customer c ON c.id = g.customer_id
  JOIN pricing_unit u ON u.id = g.pricing_unit_id JOIN kernel_user b ON b.id = g.created_by_id
 ORDER BY g.id
""",
    (
        ("id", "number of the grant"),
        ("customer", "the sender's id of the customer"),
        ("unit", "kind of credit"),
        ("category", "paid, promotional, included or goodwill"),
        ("name", "as people call it"),
        ("amount", "credits given"),
        ("remaining", "credits left when the pack was made"),
        ("price_minor", "what was paid for it, in minor units: its cost basis"),
        ("currency", "of the price"),
        ("priority", "0 is used first"),
        ("effective_at", "from when on it may be used"),
        ("expires_at", "until when, exclusive, or nothing"),
        ("origin", "number of the grant that its credits come from, or nothing"),
        ("reason_code", "why it was given"),
        ("by", "who gave it"),
        ("at", "when it was given"),
        ("source_key", "our name of the fact: given once"),
    ),
)
LEDGER = PackFile(
    "ledger",
    "the credit ledger of these grants, from their first entry on",
    """
SELECT t.id, t.grant_id, c.external_id, t.kind, trim_scale(t.credits)::text,
       trim_scale(t.cost_unrounded)::text, t.rated_usage_id,
       coalesce(y.code || ' ' || y.number, ''),
       t.reason_code, t.effective_at, t.recorded_at, b.username, t.source_key
  FROM ledger_transaction t JOIN pack_grant p ON p.id = t.grant_id
  JOIN customer c ON c.id = t.customer_id JOIN kernel_user b ON b.id = t.recorded_by_id
  LEFT JOIN credit_policy y ON y.id = t.credit_policy_id ORDER BY t.id
""",
    (
        ("id", "number of the entry"),
        ("grant", "number of the grant whose credits move"),
        ("customer", "the sender's id of the customer"),
        ("kind", "granted, drawn, returned, expired, voided, reinstated or rolled_over"),
        ("credits", "signed: what leaves the grant is negative"),
        ("cost", "share of the grant's price, in minor units, unrounded"),
        ("rated_usage", "number of the rating that it pays, or nothing"),
        ("policy", "which version of the burn order chose the grant, or nothing"),
        ("reason_code", "why, where a person acted"),
        ("effective_at", "when it holds"),
        ("recorded_at", "when it was known"),
        ("by", "who recorded it"),
        ("source_key", "our name of the fact: entered once"),
    ),
)
INVOICES = PackFile(
    "invoices",
    "claims, with what became of them until the pack was made",
    """
SELECT i.number, y.code, c.external_id, i.status, i.currency, i.total_minor, i.tax_minor,
       i.paid_minor, i.applied_minor, i.credited_minor, i.open_minor, i.written_off_minor,
       coalesce(o.number, ''), i.finalized_at, i.due_on::text, i.service_start_at,
       i.service_end_at, i.source_key
  FROM invoice i JOIN pack_invoice p ON p.id = i.id JOIN customer c ON c.id = i.customer_id
  JOIN legal_entity y ON y.id = i.entity_id LEFT JOIN invoice o ON o.id = i.replaces_id
 ORDER BY i.id
""",
    (
        ("invoice", "number of the invoice"),
        ("entity", "code of the legal entity that claims"),
        ("customer", "the sender's id of the customer"),
        ("status", "finalized, paid, void or uncollectible"),
        ("currency", "of all amounts"),
        ("total_minor", "lines with their tax, in minor units"),
        ("tax_minor", "tax in it"),
        ("paid_minor", "paid as money"),
        ("applied_minor", "paid by the customer's balance"),
        ("credited_minor", "taken off by credit notes"),
        ("open_minor", "still owed"),
        ("written_off_minor", "not expected any more"),
        ("replaces", "number of the void invoice that it claims again, or nothing"),
        ("finalized_at", "when it was issued"),
        ("due_on", "when it is to be paid"),
        ("service_start_at", "from when on the service is"),
        ("service_end_at", "until when, exclusive"),
        ("source_key", "our name of the fact: claimed once"),
    ),
)
LINES = PackFile(
    "invoice_lines",
    "what each invoice claims; lines of kind credits_used state credits and claim nothing",
    """
SELECT l.id, i.number, l.position, l.kind, l.description, trim_scale(l.quantity)::text, l.unit,
       trim_scale(l.unit_price_unrounded)::text, l.amount_minor, l.discount_minor, l.tax_minor,
       trim_scale(l.tax_rate)::text, l.credited_minor, i.currency, l.service_start_at,
       l.service_end_at, l.source_key
  FROM invoice_line l JOIN invoice i ON i.id = l.invoice_id JOIN pack_invoice p ON p.id = i.id
 ORDER BY l.invoice_id, l.position
""",
    (
        ("id", "number of the line"),
        ("invoice", "number of the invoice"),
        ("position", "place on the invoice"),
        ("kind", "what is claimed"),
        ("description", "as the customer reads it"),
        ("quantity", "of the unit"),
        ("unit", "what is counted"),
        ("unit_price", "price of one, unrounded, in major units"),
        ("amount_minor", "claim before tax, in minor units"),
        ("discount_minor", "taken off before"),
        ("tax_minor", "tax on it"),
        ("tax_rate", "share of the amount"),
        ("credited_minor", "what credit notes took off it, before tax"),
        ("currency", "of the amounts"),
        ("service_start_at", "from when on the service is"),
        ("service_end_at", "until when, exclusive"),
        ("source_key", "our name of the fact: claimed once"),
    ),
)
LINE_USAGE = PackFile(
    "line_usage",
    "which ratings stand behind which line, frozen with the invoice",
    """
SELECT u.line_id, u.rated_usage_id, u.kind, u.is_void
  FROM line_usage u JOIN invoice_line l ON l.id = u.line_id
  JOIN pack_invoice p ON p.id = l.invoice_id ORDER BY u.id
""",
    (
        ("line", "number of the line"),
        ("rating", "number of the rating"),
        ("kind", "as which kind of line it is stated: overage or credits_used"),
        ("is_void", "whether the invoice is void: it may be billed again"),
    ),
)
NOTES = PackFile(
    "credit_notes",
    "what reduces invoices, by line",
    """
SELECT n.number, i.number, l.position, n.reason, n.memo, x.amount_minor, x.tax_minor, n.currency,
       n.total_minor, n.open_minor, n.balance_minor, n.refund_minor, n.out_of_band_minor,
       b.username, n.issued_at, n.source_key, v.voided_at
  FROM credit_note n JOIN pack_invoice p ON p.id = n.invoice_id
  JOIN invoice i ON i.id = n.invoice_id JOIN credit_note_line x ON x.credit_note_id = n.id
  JOIN invoice_line l ON l.id = x.invoice_line_id JOIN kernel_user b ON b.id = n.issued_by_id
  LEFT JOIN credit_note_void v ON v.credit_note_id = n.id
 ORDER BY n.id, l.position
""",
    (
        ("note", "number of the credit note"),
        ("invoice", "number of the invoice that it reduces"),
        ("position", "which line"),
        ("reason", "why"),
        ("memo", "as the customer reads it"),
        ("amount_minor", "off the line, before tax"),
        ("tax_minor", "tax off the line"),
        ("currency", "of the amounts"),
        ("total_minor", "of the whole note: its parts below come to it"),
        ("open_minor", "part that the invoice still owed"),
        ("balance_minor", "part that became the customer's balance"),
        ("refund_minor", "part to be refunded"),
        ("out_of_band_minor", "part that was given back elsewhere"),
        ("by", "who issued it"),
        ("at", "when"),
        ("source_key", "our name of the fact: issued once"),
        ("voided_at", "when it was taken back, or nothing"),
    ),
)
PAYMENTS = PackFile(
    "payments",
    "money that came for these invoices",
    """
SELECT i.number, y.amount_minor, y.currency, y.method, y.reference, y.paid_at, y.is_recovery,
       b.username, y.recorded_at
  FROM payment y JOIN pack_invoice p ON p.id = y.invoice_id JOIN invoice i ON i.id = y.invoice_id
  JOIN kernel_user b ON b.id = y.recorded_by_id ORDER BY y.id
""",
    (
        ("invoice", "number of the invoice"),
        ("amount_minor", "in minor units"),
        ("currency", "of the amount"),
        ("method", "how it came"),
        ("reference", "at the bank or the provider"),
        ("paid_at", "when it came"),
        ("is_recovery", "whether it came after a write-off"),
        ("by", "who recorded it"),
        ("recorded_at", "when it was known"),
    ),
)
POSTINGS = PackFile(
    "journal",
    "postings of the general ledger: debit positive",
    """
SELECT e.id, e.chain_position, e.effective_on::text, d.start_on::text, d.status, e.kind,
       e.description, x.position, x.account_id, a.name, x.amount_minor, x.currency,
       coalesce(c.external_id, ''), coalesce(o.source_key, ''), coalesce(i.number, ''),
       x.service_start_on::text, x.service_end_on::text, e.recorded_at, b.username, e.source_key
  FROM posting x JOIN pack_entry p ON p.id = x.entry_id JOIN journal_entry e ON e.id = x.entry_id
  JOIN accounting_period d ON d.id = e.period_id JOIN ledger_account a ON a.code = x.account_id
  JOIN kernel_user b ON b.id = e.recorded_by_id LEFT JOIN customer c ON c.id = x.customer_id
  LEFT JOIN performance_obligation o ON o.id = x.obligation_id
  LEFT JOIN invoice_line l ON l.id = x.invoice_line_id LEFT JOIN invoice i ON i.id = l.invoice_id
 ORDER BY e.chain_position, x.position
""",
    (
        ("entry", "number of the entry: JE-7 is 7"),
        ("chain_position", "its place in the hash chain"),
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
    "rules that were submitted until the pack's end, who approved them, and their exact content",
    """
SELECT g.id, g.kind, g.subject, g.title, g.product_requirement, g.engineering_note, g.reason_code,
       g.effective_at, g.expires_at, g.status, g.needs::text, b.username, g.proposed_at,
       coalesce(d.username, ''), g.decided_at, g.decision_reason, g.content, g.content_sha256
  FROM policy_change g JOIN kernel_user b ON b.id = g.proposed_by_id
  LEFT JOIN kernel_user d ON d.id = g.decided_by_id
 WHERE g.subject <> '' AND (%(end)s::timestamptz IS NULL OR g.effective_at < %(end)s) ORDER BY g.id
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
 WHERE g.subject <> '' AND (%(end)s::timestamptz IS NULL OR g.effective_at < %(end)s) ORDER BY a.id
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
FILES = (
    *(RATINGS, GRANTS, LEDGER, INVOICES, LINES, LINE_USAGE, NOTES, PAYMENTS),
    *(POSTINGS, SOURCES, POLICIES, APPROVALS, OWNERS),
)
# What an entry's hash covers, in its order: texts, and null where there is nothing (`chain`).
SEALED = """
SELECT e.id, e.chain_position, e.entry_sha256, e.previous_sha256, jsonb_build_array(
       e.chain_position::text, d.start_on::text, e.effective_on::text, e.kind, e.description,
       e.customer_id::text, e.posting_count::text, e.reverses_id::text, e.source_key,
       to_char(e.recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'),
       e.recorded_by_id::text)::text,
       (SELECT jsonb_agg(jsonb_build_array(x.position::text, x.account_id, x.amount_minor::text,
               x.currency, x.customer_id::text, x.obligation_id::text, x.invoice_line_id::text,
               x.service_start_on::text, x.service_end_on::text) ORDER BY x.position)
          FROM posting x WHERE x.entry_id = e.id)::text
  FROM journal_entry e JOIN pack_entry p ON p.id = e.id
  JOIN accounting_period d ON d.id = e.period_id ORDER BY e.chain_position
"""
DOCUMENTS = """
SELECT i.number, d.content, encode(d.content_sha256, 'hex')
  FROM invoice_document d JOIN pack_invoice p ON p.id = d.invoice_id
  JOIN invoice i ON i.id = d.invoice_id ORDER BY i.id
"""
NOTES_OF_PACK = """
SELECT n.id FROM credit_note n JOIN pack_invoice p ON p.id = n.invoice_id ORDER BY n.id
"""
