"""Where postings name a model that nothing behind them used."""

from collections.abc import Iterator

from revrec.selectors.tieouts import Mismatch, mismatches

# That the parts of an entry sum to its whole follows from its balance. Entries of before name none.
_UNUSED_MODELS = """
SELECT 'posting:' || p.id, 'use of ' || p.model, 'none behind JE-' || p.entry_id
  FROM posting p
 WHERE p.model IS NOT NULL AND NOT EXISTS (
       SELECT FROM entry_source s
         LEFT JOIN ledger_transaction t
           ON s.source_type = 'ledger_transaction' AND t.id = s.source_id
         JOIN rated_usage r
           ON r.id = CASE s.source_type WHEN 'rated_usage' THEN s.source_id
                                        ELSE t.rated_usage_id END
         JOIN usage_window w ON w.id = r.window_id
        WHERE s.entry_id = p.entry_id AND w.dimensions->>'model' = p.model)
 ORDER BY p.id
"""


def unused_models() -> Iterator[Mismatch]:
    """Look for the use of each model among the facts that its entry accounts for."""
    yield from mismatches(_UNUSED_MODELS)
