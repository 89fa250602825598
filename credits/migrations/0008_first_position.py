from django.db import migrations

# Facts that are there now had no position when they became known: theirs was worked out from when
# each was written. The sequence's comment keeps how far they reach, so that a replay can say so.
NOTE = """
DO $$
BEGIN
    EXECUTE format('COMMENT ON SEQUENCE credit_fact_position IS %L', (
        SELECT coalesce(max(position), 0) FROM
            (SELECT max(position) AS position FROM rated_usage
             UNION ALL SELECT max(position) FROM ledger_transaction) facts
    ));
END $$
"""


class Migration(migrations.Migration):
    """Note how far the positions reach that were worked out later."""

    dependencies = [('credits', '0007_supplier_rate_and_unrated_episode')]
    operations = [migrations.RunSQL(NOTE, "COMMENT ON SEQUENCE credit_fact_position IS NULL")]
