-- Facts that were there get the positions that they would have had: by when they became known, never
-- against the order of their ids within a customer; usage before the credits that paid for it.
ALTER TABLE rated_usage DISABLE TRIGGER keep_rows;
ALTER TABLE ledger_transaction DISABLE TRIGGER keep_rows;
CREATE TEMPORARY TABLE known_fact ON COMMIT DROP AS
SELECT source, id, row_number() OVER (ORDER BY known_at, source, id) AS position
  FROM (SELECT 0 AS source, id, max(rated_at) OVER (PARTITION BY customer_id ORDER BY id) AS known_at
          FROM rated_usage
        UNION ALL
        SELECT 1, id, max(recorded_at) OVER (PARTITION BY customer_id ORDER BY id)
          FROM ledger_transaction) facts;
UPDATE rated_usage r SET position = k.position FROM known_fact k WHERE k.source = 0 AND k.id = r.id;
UPDATE ledger_transaction l SET position = k.position FROM known_fact k WHERE k.source = 1 AND k.id = l.id;
-- The new column wrote each row again, so that its foreign keys wait for a check: a table with any
-- that wait is not altered.
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;
ALTER TABLE rated_usage ENABLE ALWAYS TRIGGER keep_rows;
ALTER TABLE ledger_transaction ENABLE ALWAYS TRIGGER keep_rows;
