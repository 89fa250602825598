-- Decisions follow one another from the outcome's state, and end with its invoice, unless that is
-- void. The outcome is held meanwhile, so that of two decisions at once the second sees the first.
CREATE OR REPLACE FUNCTION outcome_decide() RETURNS trigger LANGUAGE plpgsql AS $$
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
                WHERE u.outcome_id = NEW.outcome_id AND NOT u.is_void) THEN
        RAISE EXCEPTION 'outcome % is invoiced: only a credit note takes it back', NEW.outcome_id
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    UPDATE outcome SET state = NEW.state WHERE id = NEW.outcome_id;
    RETURN NEW;
END $$;

-- A void frees the outcomes behind its lines to be billed again.
CREATE FUNCTION line_outcome_follow_void() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE line_outcome SET is_void = true
     WHERE line_id IN (SELECT id FROM invoice_line WHERE invoice_id = NEW.invoice_id);
    RETURN NULL;
END $$;
CREATE TRIGGER follow_void_outcomes AFTER INSERT ON invoice_void
    FOR EACH ROW EXECUTE FUNCTION line_outcome_follow_void();
ALTER TABLE invoice_void ENABLE ALWAYS TRIGGER follow_void_outcomes;

-- What stands behind a line changes in one way only: its invoice becomes void.
CREATE FUNCTION line_outcome_keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF pg_trigger_depth() >= 2 AND NEW.is_void AND NOT OLD.is_void
       AND to_jsonb(OLD) - 'is_void' = to_jsonb(NEW) - 'is_void' THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'line_outcome is append-only: % refused', TG_OP
        USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
END $$;
DROP TRIGGER keep_rows ON line_outcome;
CREATE TRIGGER keep_rows BEFORE UPDATE ON line_outcome
    FOR EACH ROW EXECUTE FUNCTION line_outcome_keep();
ALTER TABLE line_outcome ENABLE ALWAYS TRIGGER keep_rows;
