-- Decisions follow one another from the outcome's state, and end with its invoice. The outcome is
-- held meanwhile, so that of two decisions at once the second sees the first.
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
                WHERE u.outcome_id = NEW.outcome_id) THEN
        RAISE EXCEPTION 'outcome % is invoiced: only a credit note takes it back', NEW.outcome_id
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    UPDATE outcome SET state = NEW.state WHERE id = NEW.outcome_id;
    RETURN NEW;
END $$;
DROP TRIGGER follow_void_outcomes ON invoice_void;
DROP FUNCTION line_outcome_follow_void;
DROP TRIGGER keep_rows ON line_outcome;
CREATE TRIGGER keep_rows BEFORE UPDATE ON line_outcome
    FOR EACH ROW EXECUTE FUNCTION kernel_refuse_change();
ALTER TABLE line_outcome ENABLE ALWAYS TRIGGER keep_rows;
DROP FUNCTION line_outcome_keep;
