"""Drafting again as SQL text: what was not known yet when a document was drafted is hidden.

Pure: texts. All of it happens in a savepoint that is undone. The order in which documents, notes
and voids came to be is that of the audit trail: instants do not tell, for clocks can be set.
"""

from billing_project.console.portable.state_sql import at_text, exact_text, line_text

# Whose guards are off meanwhile.
GUARDED = (
    "invoice", "invoice_line", "line_usage", "line_outcome", "line_discount", "credit_note_line",
    "credit_note_void", "invoice_void", "outcome", "rated_usage", "invoiced_usage",
    "invoice_split", "seat_change", "coupon_redemption", "subscription", "subscription_change",
)  # fmt: skip

PLACES = """
CREATE TEMPORARY TABLE document_place AS
SELECT split_part(subject, ':', 1) AS kind, split_part(subject, ':', 2)::bigint AS id,
       min(id) AS place
  FROM audit_entry
 WHERE action IN ('finalize_invoice', 'issue_credit_note', 'void_invoice', 'void_credit_note',
                  'split_invoices')
 GROUP BY 1, 2;
CREATE UNIQUE INDEX ON document_place (kind, id);
ANALYZE document_place
"""
FORGET_PLACES = "DROP TABLE document_place"
# Issued documents, in the order of their issue: what each is of, and until when facts were known.
# A claim of a period's start is drafted when it opens, one of its end when it is issued. Where a
# change came between, or another draft of the customer's usage was open, it is taken as given.
DOCUMENTS = r"""
SELECT i.id, i.customer_id, i.number, i.kind, i.period_id, p.place,
       CASE i.kind WHEN 'advance' THEN i.created_at ELSE i.finalized_at END,
       i.kind <> '' AND p.place IS NOT NULL AND NOT (i.kind = 'advance' AND (
           EXISTS (SELECT FROM subscription_change c
                    WHERE c.subscription_id = i.subscription_id AND c.effective_at = b.end_at
                      AND b.end_at < b.uncut_end_at AND c.created_at <= i.finalized_at)
        OR EXISTS (SELECT FROM seat_change c WHERE c.subscription_id = i.subscription_id
                      AND c.created_at > i.created_at AND c.created_at <= i.finalized_at)))
       AND NOT (i.kind = 'overage' AND EXISTS (
           SELECT FROM invoice o LEFT JOIN document_place d ON d.kind = 'invoice' AND d.id = o.id
            WHERE o.customer_id = i.customer_id AND o.source_key LIKE 'billing\_period:%%:overage%%'
              AND split_part(o.source_key, ':', 2)::bigint <> i.period_id
              AND o.created_at <= i.finalized_at AND (d.place IS NULL OR d.place > p.place)))
  FROM (SELECT *, CASE
            WHEN source_key ~ '^billing_period:\d+:overage(:\d+)?$' THEN 'overage'
            WHEN source_key ~ '^billing_period:\d+:fee$' THEN 'advance' ELSE '' END AS kind,
          CASE WHEN source_key ~ '^billing_period:\d+:'
               THEN split_part(source_key, ':', 2)::bigint END AS period_id
          FROM invoice WHERE number IS NOT NULL AND source_key !~ ':overage(:\d+)?:w\d+$') i
  LEFT JOIN billing_period b ON b.id = i.period_id
  LEFT JOIN LATERAL (
       SELECT max(d.place) AS place FROM invoice o JOIN document_place d
           ON d.kind = 'invoice' AND d.id = o.id
        WHERE o.id = i.id OR o.source_key ~ ('^' || i.source_key || ':w\d+$')) p ON true
 WHERE %(customer)s::bigint IS NULL OR i.customer_id = %(customer)s
 ORDER BY i.customer_id, p.place NULLS FIRST, i.id
"""
# The document with the parts of it that were cut off for workspaces, and the void invoice that they
# claim again: while it was a draft, the document itself referred to it.
PARTS_OF = r"""
SELECT array_agg(o.id), max(o.replaces_id) FROM invoice i JOIN invoice o
    ON o.id = i.id OR o.source_key ~ ('^' || i.source_key || ':w\d+$')
 WHERE i.id = %(invoice)s
"""
# Its lines as their content; a price that has the tax in it is told with the tax, whose rate is
# that of the document's issue.
LINES = f"""
SELECT {
    line_text(
        "c.external_id",
        "%(number)s::text",
        "i.currency",
        "s.external_id",
        "l.kind",
        "l.description",
        exact_text("l.quantity"),
        "l.unit",
        exact_text("l.unit_price_unrounded"),
        "l.amount_minor + CASE WHEN l.is_tax_inclusive THEN l.tax_minor ELSE 0 END",
        "l.discount_minor",
        at_text("l.service_start_at"),
        at_text("l.service_end_at"),
    )
}
  FROM invoice_line l JOIN invoice i ON i.id = l.invoice_id
  JOIN customer c ON c.id = i.customer_id LEFT JOIN workspace s ON s.id = i.workspace_id
 WHERE l.invoice_id = ANY (%(invoices)s)
"""  # noqa: S608 - texts of this module
_LATER = """(SELECT l.id FROM invoice_line l JOIN invoice i ON i.id = l.invoice_id
  LEFT JOIN document_place d ON d.kind = 'invoice' AND d.id = i.id
 WHERE i.customer_id = %(customer)s AND (i.id = ANY (%(invoices)s)
    OR (d.place IS NULL OR d.place > %(place)s)
       AND (i.created_at > %(known)s OR i.source_key LIKE 'billing\\_period:%%:overage%%')))"""
_OF_CUSTOMER = "(SELECT id FROM subscription WHERE customer_id = %(customer)s)"
_EMPTY = """status = 'draft', number = NULL, sequence = NULL, finalized_at = NULL, due_on = NULL,
       paid_minor = 0, applied_minor = 0, credited_minor = 0, returned_minor = 0, open_minor = 0,
       written_off_minor = 0"""
HIDE = (
    # Usage and outcomes that stand on no document until this one.
    """
DELETE FROM rated_usage r WHERE r.billing_period_id = %(period)s
   AND (r.overage <> 0 OR r.charge <> 0) AND NOT EXISTS (
       SELECT FROM line_usage u JOIN invoice_line l ON l.id = u.line_id
         JOIN document_place d ON d.kind = 'invoice' AND d.id = l.invoice_id
        WHERE u.rated_usage_id = r.id AND d.place <= %(place)s)""",
    """
DELETE FROM outcome o WHERE o.billing_period_id = %(period)s AND NOT EXISTS (
       SELECT FROM line_outcome u JOIN invoice_line l ON l.id = u.line_id
         JOIN document_place d ON d.kind = 'invoice' AND d.id = l.invoice_id
        WHERE u.outcome_id = o.id AND d.place <= %(place)s)""",
    # Lines of this document and of later ones.
    *(
        f"DELETE FROM {table} WHERE line_id IN {_LATER}"  # noqa: S608 - texts of this module
        for table in ("line_usage", "line_outcome", "line_discount")
    ),
    # Notes and voids that came later.
    """
DELETE FROM credit_note_line t USING credit_note n, invoice i, document_place d
 WHERE n.id = t.credit_note_id AND i.id = n.invoice_id AND i.customer_id = %(customer)s
   AND d.kind = 'creditnote' AND d.id = n.id AND d.place > %(place)s""",
    """
DELETE FROM credit_note_void v USING document_place d, credit_note n, invoice i
 WHERE d.kind = 'creditnotevoid' AND d.id = v.id AND d.place > %(place)s
   AND n.id = v.credit_note_id AND i.id = n.invoice_id AND i.customer_id = %(customer)s""",
    f"DELETE FROM invoice_line WHERE id IN {_LATER}",  # noqa: S608
    *(
        f"""
UPDATE {table} u SET is_void = false FROM invoice_line l, invoice_void v, document_place d
 WHERE l.id = u.line_id AND v.invoice_id = l.invoice_id AND u.is_void
   AND d.kind = 'invoicevoid' AND d.id = v.id AND d.place > %(place)s
   AND l.invoice_id IN (SELECT id FROM invoice WHERE customer_id = %(customer)s)"""  # noqa: S608
        for table in ("line_usage", "line_outcome")
    ),
    """
UPDATE invoice i SET status = 'paid' FROM invoice_void v, document_place d
 WHERE v.invoice_id = i.id AND i.customer_id = %(customer)s AND d.kind = 'invoicevoid'
   AND d.id = v.id AND d.place > %(place)s""",
    # Documents that were issued later were drafts; those cut off this one were not there.
    "DELETE FROM invoice WHERE id = ANY (%(invoices)s) AND id <> %(invoice)s",
    f"""
UPDATE invoice i SET {_EMPTY} WHERE i.customer_id = %(customer)s AND i.number IS NOT NULL
   AND EXISTS (SELECT FROM document_place d WHERE d.kind = 'invoice' AND d.id = i.id
                  AND d.place > %(place)s)""",  # noqa: S608
    f"""
UPDATE invoice SET {_EMPTY}, total_minor = 0, tax_minor = 0, workspace_id = NULL,
       replaces_id = %(replaces)s
 WHERE id = %(invoice)s""",  # noqa: S608
    # What was decided later.
    "DELETE FROM invoiced_usage WHERE source_key = 'billing_period:' || %(period)s"
    " AND recorded_at >= %(known)s",
    """
DELETE FROM invoice_split s USING document_place d WHERE s.customer_id = %(customer)s
   AND d.kind = 'invoicesplit' AND d.id = s.id AND d.place > %(place)s""",
    f"DELETE FROM seat_change WHERE created_at > %(known)s AND subscription_id IN {_OF_CUSTOMER}",  # noqa: S608
    f"DELETE FROM coupon_redemption WHERE redeemed_at > %(known)s"  # noqa: S608
    f" AND subscription_id IN {_OF_CUSTOMER}",
    f"""
UPDATE subscription s SET ends_at = (
       SELECT max(c.effective_at) FROM subscription_change c
        WHERE c.subscription_id = s.id AND c.kind = 'cancel' AND c.created_at <= %(known)s
          AND (c.undone_at IS NULL OR c.undone_at > %(known)s))
 WHERE s.id IN {_OF_CUSTOMER} AND EXISTS (
       SELECT FROM subscription_change c WHERE c.subscription_id = s.id AND c.kind = 'cancel'
          AND (c.created_at > %(known)s OR c.undone_at > %(known)s))""",  # noqa: S608
    f"DELETE FROM subscription_change WHERE created_at > %(known)s"  # noqa: S608
    f" AND subscription_id IN {_OF_CUSTOMER}",
    f"UPDATE subscription_change SET undone_at = NULL, undone_by_id = NULL, undo_reason = ''"  # noqa: S608
    f" WHERE undone_at > %(known)s AND subscription_id IN {_OF_CUSTOMER}",
)
