"""What the state hash covers: the derived facts, each as one line of text that names no row's id.

Pure: texts. A line is a JSON array of what people would name a fact by (the customer's own id, a
meter's code, the hours, the terms of a grant) and its figures as exact text. Figures are summed to
the coarsest fact that does not hang on how often, or at which instant, the worker looked: revisions
of a window, entries of a run. What sums to nothing has no line.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """One kind of derived facts.

    Attributes:
        about: What a line is of, for people.
        query: Yields one column of lines, unsorted; the same line may come twice.
    """

    name: str
    about: str
    query: str


def at_text(name: str) -> str:
    return f"""to_char({name} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""


def exact_text(figure: str) -> str:
    return f"trim_scale({figure})::text"


def line_text(*parts: str) -> str:
    return f"json_build_array({', '.join(parts)})::text"


_WINDOW = (
    "c.external_id", "m.code", "k.external_id", at_text("w.start_at"), "w.dimensions::text",
)  # fmt: skip
_OF_WINDOW = """JOIN customer c ON c.id = w.customer_id JOIN meter m ON m.id = w.meter_id
  LEFT JOIN workspace k ON k.id = w.workspace_id"""
_GRANT = (
    "c.external_id", "u.code", "g.category", "g.name", exact_text("g.amount"), "g.price_minor",
    "g.currency", exact_text("g.basis_amount"), at_text("g.effective_at"), at_text("g.expires_at"),
    "k.external_id", "g.meter_codes::text", "g.priority", "g.reason_code",
)  # fmt: skip
_OF_GRANT = """JOIN customer c ON c.id = g.customer_id
  JOIN pricing_unit u ON u.id = g.pricing_unit_id
  LEFT JOIN workspace k ON k.id = g.workspace_id"""

WINDOWS = Part(
    "windows",
    "a meter's quantity of a customer in one hour, by workspace and dimensions",
    f"""
SELECT {line_text(*_WINDOW, exact_text("w.quantity"), "w.event_count")}
  FROM usage_window w {_OF_WINDOW}
 WHERE w.quantity <> 0 OR w.event_count <> 0
""",  # noqa: S608 - texts of this module
)
RATINGS = Part(
    "ratings",
    "what a window's quantity was charged at one rate, and what was drawn, owed and forgiven",
    f"""
SELECT {
        line_text(
            *_WINDOW,
            at_text("p.start_at"),
            at_text("p.end_at"),
            "a.code",
            "v.number",
            "t.meter_code",
            "t.dimensions_key",
            exact_text("r.quantity"),
            exact_text("r.charge"),
            exact_text("r.drawn"),
            exact_text("r.overage"),
            exact_text("r.forgiven"),
        )
    }
  FROM (SELECT window_id, billing_period_id, rate_id, sum(quantity) AS quantity,
               sum(charge) AS charge, sum(drawn) AS drawn, sum(overage) AS overage,
               sum(forgiven) AS forgiven
          FROM rated_usage GROUP BY 1, 2, 3) r
  JOIN usage_window w ON w.id = r.window_id {_OF_WINDOW}
  JOIN billing_period p ON p.id = r.billing_period_id JOIN rate t ON t.id = r.rate_id
  JOIN rate_card_version v ON v.id = t.version_id JOIN rate_card a ON a.id = v.rate_card_id
 WHERE (r.quantity, r.charge, r.drawn, r.overage, r.forgiven) <> (0, 0, 0, 0, 0)
""",  # noqa: S608 - texts of this module
)
GRANTS = Part(
    "grants",
    "credits given, under which terms, and what is left of them",
    f"SELECT {line_text(*_GRANT, exact_text('g.remaining'))} FROM credit_grant g {_OF_GRANT}",  # noqa: S608
)
LEDGER = Part(
    "ledger",
    "credits of a grant that one window's usage drew, or that came, left or returned otherwise",
    f"""
SELECT {
        line_text(
            *_GRANT,
            "x.kind",
            "x.reason_code",
            at_text("x.effective_at"),
            "m.code",
            "s.external_id",
            at_text("w.start_at"),
            "w.dimensions::text",
            exact_text("x.credits"),
            exact_text("x.cost"),
        )
    }
  FROM (SELECT t.grant_id, CASE WHEN t.rated_usage_id IS NULL THEN t.kind ELSE 'usage' END AS kind,
               t.reason_code, CASE WHEN t.rated_usage_id IS NULL THEN t.effective_at END
                 AS effective_at, r.window_id, sum(t.credits) AS credits,
               sum(t.cost_unrounded) AS cost
          FROM ledger_transaction t LEFT JOIN rated_usage r ON r.id = t.rated_usage_id
         GROUP BY 1, 2, 3, 4, 5) x
  JOIN credit_grant g ON g.id = x.grant_id {_OF_GRANT}
  LEFT JOIN usage_window w ON w.id = x.window_id LEFT JOIN meter m ON m.id = w.meter_id
  LEFT JOIN workspace s ON s.id = w.workspace_id
 WHERE x.credits <> 0 OR x.cost <> 0
""",  # noqa: S608 - texts of this module
)
INVOICES = Part(
    "invoices",
    "lines of claims as their content: neither numbers nor what became of them",
    f"""
SELECT {
        line_text(
            "c.external_id",
            "e.code",
            "i.currency",
            "s.external_id",
            "l.kind",
            "l.description",
            exact_text("l.quantity"),
            "l.unit",
            exact_text("l.unit_price_unrounded"),
            "l.amount_minor",
            "l.discount_minor",
            "l.tax_minor",
            exact_text("l.tax_rate"),
            "l.is_tax_inclusive",
            at_text("l.service_start_at"),
            at_text("l.service_end_at"),
        )
    }
  FROM invoice_line l JOIN invoice i ON i.id = l.invoice_id
  JOIN customer c ON c.id = i.customer_id JOIN legal_entity e ON e.id = i.entity_id
  LEFT JOIN workspace s ON s.id = i.workspace_id
""",  # noqa: S608 - texts of this module
)
SETTLED = Part(
    "settled",
    "issued claims by number, with what was paid, credited, applied and is open",
    f"""
SELECT {
        line_text(
            "c.external_id",
            "e.code",
            "i.number",
            "i.status",
            "i.currency",
            at_text("i.service_start_at"),
            at_text("i.service_end_at"),
            "i.total_minor",
            "i.tax_minor",
            "i.paid_minor",
            "i.applied_minor",
            "i.credited_minor",
            "i.returned_minor",
            "i.open_minor",
            "i.written_off_minor",
        )
    }
  FROM invoice i JOIN customer c ON c.id = i.customer_id JOIN legal_entity e ON e.id = i.entity_id
 WHERE i.number IS NOT NULL
""",  # noqa: S608 - texts of this module
)
SCHEDULES = Part(
    "schedules",
    "what each promise costs, how much of it is recognised, and the days by which fees are earned",
    f"""
SELECT {
        line_text(
            "c.external_id",
            "o.kind",
            "o.currency",
            "o.price_minor",
            "o.recognised_minor",
            "l.kind",
            "l.description",
            at_text("l.service_start_at"),
            at_text("l.service_end_at"),
            at_text("p.start_at"),
            "g.category",
            exact_text("g.amount"),
            at_text("g.effective_at"),
            "d.revision",
            "d.price_minor",
            "d.start_on",
            "d.end_on",
            "d.days",
        )
    }
  FROM performance_obligation o JOIN customer c ON c.id = o.customer_id
  LEFT JOIN invoice_line l ON l.id = o.invoice_line_id
  LEFT JOIN billing_period p ON p.id = o.billing_period_id
  LEFT JOIN credit_grant g ON g.id = o.grant_id
  LEFT JOIN (SELECT h.*, (SELECT encode(sha256(convert_to(string_agg(
                      y.service_on || '=' || y.amount_minor, ' ' ORDER BY y.service_on),
                      'UTF8')), 'hex')
                     FROM revenue_schedule_line y WHERE y.schedule_id = h.id) AS days
               FROM revenue_schedule h) d ON d.obligation_id = o.id
 WHERE o.price_minor <> 0 OR o.recognised_minor <> 0 OR d.id IS NOT NULL
""",  # noqa: S608 - texts of this module
)
JOURNAL = Part(
    "journal",
    "what was posted on a day to an account for a customer, by kind of entry and promise",
    f"""
SELECT {
        line_text(
            "x.effective_on",
            "x.kind",
            "c.external_id",
            "x.account_id",
            "x.currency",
            "x.promise",
            "x.service_start_on",
            "x.service_end_on",
            "x.amount",
            "x.worth_currency",
            "x.worth",
        )
    }
  FROM (SELECT e.effective_on, e.kind, p.customer_id, p.account_id, p.currency,
               o.kind AS promise, p.service_start_on, p.service_end_on,
               p.functional_currency AS worth_currency,
               sum(p.amount_minor)::text AS amount, sum(p.functional_minor)::text AS worth
          FROM posting p JOIN journal_entry e ON e.id = p.entry_id
          LEFT JOIN performance_obligation o ON o.id = p.obligation_id
         GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
        HAVING sum(p.amount_minor) <> 0 OR sum(p.functional_minor) <> 0) x
  LEFT JOIN customer c ON c.id = x.customer_id
""",  # noqa: S608 - texts of this module
)
PARTS = (WINDOWS, RATINGS, GRANTS, LEDGER, INVOICES, SETTLED, SCHEDULES, JOURNAL)
