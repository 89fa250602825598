"""The audit pack's files of credits and money; see `pack_sql`, whose choice they join."""

from revrec.pack_sql import PackFile

RATINGS = PackFile(
    "ratings",
    "what usage was charged in credits, and how it was paid: a row for each change of a window",
    """
SELECT r.id, r.window_id, r.window_revision, r.service_at, c.code, v.number,
       trim_scale(r.quantity)::text, trim_scale(r.charge)::text, trim_scale(r.drawn)::text,
       trim_scale(r.overage)::text, trim_scale(r.forgiven)::text, r.tiers::text, r.rated_at,
       r.source_key
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
        ("charge", "in credits: drawn + overage + forgiven"),
        ("drawn", "credits that grants paid"),
        ("overage", "credits beyond the grants"),
        ("forgiven", "credits that notes gave back; less what corrections undid since"),
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
SELECT n.id, n.number, i.number, l.position, n.reason, n.memo, x.amount_minor, x.tax_minor,
       n.currency, n.total_minor, n.open_minor, n.balance_minor, n.refund_minor,
       n.out_of_band_minor, trim_scale(x.restored_credits)::text, b.username, n.issued_at,
       n.source_key, v.voided_at
  FROM credit_note n JOIN pack_invoice p ON p.id = n.invoice_id
  JOIN invoice i ON i.id = n.invoice_id JOIN credit_note_line x ON x.credit_note_id = n.id
  JOIN invoice_line l ON l.id = x.invoice_line_id JOIN kernel_user b ON b.id = n.issued_by_id
  LEFT JOIN credit_note_void v ON v.credit_note_id = n.id
 ORDER BY n.id, l.position
""",
    (
        ("id", "by which the journal's sources name it"),
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
        ("restored_credits", "credits of the line that went back to the grants that paid"),
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
SELECT y.id, i.number, y.amount_minor, y.currency, y.method, y.reference, y.paid_at, y.is_recovery,
       b.username, y.recorded_at
  FROM payment y JOIN pack_invoice p ON p.id = y.invoice_id JOIN invoice i ON i.id = y.invoice_id
  JOIN kernel_user b ON b.id = y.recorded_by_id ORDER BY y.id
""",
    (
        ("id", "by which the journal's sources name it"),
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
SETTLEMENTS = PackFile(
    "settlements",
    "what else became of these invoices: balance, refunds, disputes, write-offs, voids",
    """
SELECT s.kind, s.id, i.number, x.amount_minor, x.currency, x.at, b.username, x.why
  FROM pack_settlement s JOIN LATERAL (
    SELECT a.invoice_id, a.amount_minor, a.currency, a.applied_at AS at, a.applied_by_id AS by_id,
           '' AS why FROM balance_application a
     WHERE s.kind = 'balance_application' AND a.id = s.id
    UNION ALL
    SELECT n.invoice_id, r.amount_minor, r.currency, r.refunded_at, r.recorded_by_id,
           r.method || ' ' || r.reference || coalesce(': failed, ' || f.reason, '')
      FROM refund r JOIN credit_note n ON n.id = r.credit_note_id
      LEFT JOIN refund_failure f ON f.refund_id = r.id WHERE s.kind = 'refund' AND r.id = s.id
    UNION ALL
    SELECT d.invoice_id, d.amount_minor, d.currency, d.opened_at, d.recorded_by_id,
           d.reason || coalesce(': ' || o.verdict, '')
      FROM dispute d LEFT JOIN dispute_outcome o ON o.dispute_id = d.id
     WHERE s.kind = 'dispute' AND d.id = s.id
    UNION ALL
    SELECT o.invoice_id, o.amount_minor, o.currency, o.written_off_at, o.written_off_by_id, o.reason
      FROM write_off o WHERE s.kind = 'write_off' AND o.id = s.id
    UNION ALL
    SELECT h.invoice_id, h.amount_minor, h.currency, h.accepted_at, y.recorded_by_id,
           'within the tolerance of ' || t.most_minor
      FROM short_payment h JOIN payment y ON y.id = h.payment_id
      JOIN payment_tolerance t ON t.id = h.tolerance_id
     WHERE s.kind = 'short_payment' AND h.id = s.id
    UNION ALL
    SELECT v.invoice_id, j.total_minor, j.currency, v.voided_at, v.voided_by_id, v.reason
      FROM invoice_void v JOIN invoice j ON j.id = v.invoice_id
     WHERE s.kind = 'invoice_void' AND v.id = s.id
  ) x ON true
  JOIN invoice i ON i.id = x.invoice_id JOIN kernel_user b ON b.id = x.by_id
 ORDER BY i.id, x.at, s.id
""",
    (
        ("kind", "balance_application, short_payment, refund, dispute, write_off or invoice_void"),
        ("id", "by which the journal's sources name it"),
        ("invoice", "number of the invoice"),
        ("amount_minor", "in minor units"),
        ("currency", "of the amount"),
        ("at", "when it was"),
        ("by", "who recorded it"),
        ("why", "in words"),
    ),
)
FILES = (RATINGS, GRANTS, LEDGER, INVOICES, LINES, LINE_USAGE, NOTES, PAYMENTS, SETTLEMENTS)
DOCUMENTS = """
SELECT i.number, d.content, encode(d.content_sha256, 'hex')
  FROM invoice_document d JOIN pack_invoice p ON p.id = d.invoice_id
  JOIN invoice i ON i.id = d.invoice_id ORDER BY i.id
"""
NOTES_OF_PACK = """
SELECT n.id FROM credit_note n JOIN pack_invoice p ON p.id = n.invoice_id ORDER BY n.id
"""
