-- Decisions follow one another from the outcome's state, and end with its invoice. The outcome is
-- held meanwhile, so that of two decisions at once the second sees the first.
CREATE FUNCTION outcome_decide() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    state_now text;
    last_sequence integer;
BEGIN
    SELECT o.state INTO state_now FROM outcome o WHERE o.id = NEW.outcome_id FOR NO KEY UPDATE;
    SELECT coalesce(max(sequence), 0) INTO last_sequence FROM outcome_decision
     WHERE outcome_id = NEW.outcome_id;
    IF NEW.state_before <> state_now OR NEW.sequence <> last_sequence + 1
       OR NEW.state = state_now OR state_now = 'rejected' THEN
        RAISE EXCEPTION 'outcome % is %: % cannot follow', NEW.outcome_id, state_now, NEW.state
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    IF EXISTS (SELECT FROM line_outcome u JOIN invoice_line l ON l.id = u.line_id
                 JOIN invoice i ON i.id = l.invoice_id AND i.status <> 'draft'
                WHERE u.outcome_id = NEW.outcome_id) THEN
        RAISE EXCEPTION 'outcome % is invoiced: only a credit note takes it back', NEW.outcome_id
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    UPDATE outcome SET state = NEW.state WHERE id = NEW.outcome_id;
    RETURN NEW;
END $$;
CREATE TRIGGER decide BEFORE INSERT ON outcome_decision
    FOR EACH ROW EXECUTE FUNCTION outcome_decide();
ALTER TABLE outcome_decision ENABLE ALWAYS TRIGGER decide;

-- Only decisions move an outcome's state; everything else about it stays.
CREATE FUNCTION outcome_keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'pending' THEN
            RAISE EXCEPTION 'an outcome starts as pending'
                USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
        END IF;
        RETURN NEW;
    END IF;
    IF TG_OP = 'UPDATE' AND pg_trigger_depth() >= 2
       AND to_jsonb(OLD) - 'state' = to_jsonb(NEW) - 'state' THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'outcomes are kept, and only decisions move them: % refused', TG_OP
        USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
END $$;
CREATE TRIGGER keep_rows BEFORE INSERT OR UPDATE OR DELETE ON outcome
    FOR EACH ROW EXECUTE FUNCTION outcome_keep();
ALTER TABLE outcome ENABLE ALWAYS TRIGGER keep_rows;
CREATE TRIGGER keep_table BEFORE TRUNCATE ON outcome
    FOR EACH STATEMENT EXECUTE FUNCTION kernel_refuse_change();
ALTER TABLE outcome ENABLE ALWAYS TRIGGER keep_table;

-- Outcomes behind a line are frozen with its invoice, as rated usage is.
CREATE TRIGGER keep_issued_from_more AFTER INSERT ON line_outcome
    REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION line_usage_keep_issued();
ALTER TABLE line_outcome ENABLE ALWAYS TRIGGER keep_issued_from_more;
CREATE TRIGGER keep_issued_from_less AFTER DELETE ON line_outcome
    REFERENCING OLD TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION line_usage_keep_issued();
ALTER TABLE line_outcome ENABLE ALWAYS TRIGGER keep_issued_from_less;
CREATE TRIGGER keep_rows BEFORE UPDATE ON line_outcome
    FOR EACH ROW EXECUTE FUNCTION kernel_refuse_change();
ALTER TABLE line_outcome ENABLE ALWAYS TRIGGER keep_rows;
CREATE TRIGGER keep_table BEFORE TRUNCATE ON line_outcome
    FOR EACH STATEMENT EXECUTE FUNCTION kernel_refuse_change();
ALTER TABLE line_outcome ENABLE ALWAYS TRIGGER keep_table;
