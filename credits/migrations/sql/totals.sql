-- Rated usage moves what is kept of it: how far each window is rated, and what each rate came to in
-- a period. Rows are locked in the order of their keys; the customer's lock keeps writers apart.
CREATE FUNCTION rated_usage_follow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO window_rating AS w (window_id, billing_period_id, rate_id, revision, quantity)
    SELECT window_id, min(billing_period_id), min(rate_id), max(window_revision), sum(quantity)
      FROM new_rows GROUP BY window_id ORDER BY window_id
    ON CONFLICT (window_id) DO UPDATE
       SET revision = greatest(w.revision, excluded.revision), quantity = w.quantity + excluded.quantity,
           rate_id = least(w.rate_id, excluded.rate_id);
    INSERT INTO rate_total AS t (billing_period_id, rate_id, workspace_id, quantity, charge)
    SELECT r.billing_period_id, r.rate_id, w.workspace_id, sum(r.quantity), sum(r.charge)
      FROM new_rows r JOIN usage_window w ON w.id = r.window_id
     GROUP BY r.billing_period_id, r.rate_id, w.workspace_id
     ORDER BY r.billing_period_id, r.rate_id, w.workspace_id
    ON CONFLICT ON CONSTRAINT rate_total_once DO UPDATE
       SET quantity = t.quantity + excluded.quantity, charge = t.charge + excluded.charge;
    RETURN NULL;
END $$;

CREATE FUNCTION rated_usage_only_facts_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF pg_trigger_depth() < 2 THEN
        RAISE EXCEPTION 'only rated usage moves %', TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$;

-- What was rated before is folded once.
INSERT INTO window_rating (window_id, billing_period_id, rate_id, revision, quantity)
SELECT window_id, min(billing_period_id), min(rate_id), max(window_revision), sum(quantity)
  FROM rated_usage GROUP BY window_id;
INSERT INTO rate_total (billing_period_id, rate_id, workspace_id, quantity, charge)
SELECT r.billing_period_id, r.rate_id, w.workspace_id, sum(r.quantity), sum(r.charge)
  FROM rated_usage r JOIN usage_window w ON w.id = r.window_id
 GROUP BY r.billing_period_id, r.rate_id, w.workspace_id;

CREATE TRIGGER follow_rated_usage AFTER INSERT ON rated_usage
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION rated_usage_follow();
ALTER TABLE rated_usage ENABLE ALWAYS TRIGGER follow_rated_usage;
CREATE TRIGGER only_facts_move BEFORE INSERT OR UPDATE ON window_rating
    FOR EACH ROW EXECUTE FUNCTION rated_usage_only_facts_move();
ALTER TABLE window_rating ENABLE ALWAYS TRIGGER only_facts_move;
CREATE TRIGGER only_facts_move BEFORE INSERT OR UPDATE ON rate_total
    FOR EACH ROW EXECUTE FUNCTION rated_usage_only_facts_move();
ALTER TABLE rate_total ENABLE ALWAYS TRIGGER only_facts_move;
