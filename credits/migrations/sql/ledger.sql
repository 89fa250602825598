-- A grant's `remaining` is what its ledger transactions sum to. The database moves it when
-- transactions are inserted and refuses any other hand; CHECK keeps it within 0 and the amount.
CREATE FUNCTION credit_grant_follow_ledger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE credit_grant g SET remaining = g.remaining + moved.credits
      FROM (SELECT grant_id, sum(credits) AS credits FROM new_rows GROUP BY grant_id ORDER BY grant_id) moved
     WHERE g.id = moved.grant_id;
    RETURN NULL;
END $$;

CREATE FUNCTION credit_grant_only_ledger_moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.remaining <> 0 THEN
            RAISE EXCEPTION 'a grant starts empty; its granted transaction fills it'
                USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
        END IF;
    ELSIF NEW.remaining <> OLD.remaining AND pg_trigger_depth() < 2 THEN
        RAISE EXCEPTION 'only ledger transactions move a grant''s remaining credits'
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER follow_ledger AFTER INSERT ON ledger_transaction
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION credit_grant_follow_ledger();
ALTER TABLE ledger_transaction ENABLE ALWAYS TRIGGER follow_ledger;
CREATE TRIGGER only_ledger_moves BEFORE INSERT OR UPDATE ON credit_grant
    FOR EACH ROW EXECUTE FUNCTION credit_grant_only_ledger_moves();
ALTER TABLE credit_grant ENABLE ALWAYS TRIGGER only_ledger_moves;
