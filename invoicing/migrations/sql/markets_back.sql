-- Invoices as they were before markets and tax.
DROP TRIGGER need_open_market ON invoice;
DROP FUNCTION invoice_need_open_market;
CREATE OR REPLACE FUNCTION invoice_line_keep_issued() RETURNS trigger LANGUAGE plpgsql
    SET search_path FROM CURRENT AS $$
DECLARE
    state text;
    moving text[] := ARRAY['credited_minor'];
BEGIN
    SELECT status INTO state FROM invoice
     WHERE id = CASE TG_OP WHEN 'DELETE' THEN OLD.invoice_id ELSE NEW.invoice_id END
       FOR SHARE;
    IF state = 'draft' AND (TG_OP <> 'UPDATE' OR OLD.invoice_id = NEW.invoice_id) THEN
        RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
    END IF;
    IF TG_OP = 'UPDATE' AND pg_trigger_depth() >= 2
       AND to_jsonb(OLD) - moving = to_jsonb(NEW) - moving THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'lines of an issued invoice are frozen: % refused', TG_OP
        USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
END $$;
CREATE OR REPLACE FUNCTION invoice_line_follow_credit_note() RETURNS trigger LANGUAGE plpgsql
    SET search_path FROM CURRENT AS $$
DECLARE
    changed bigint;
BEGIN
    UPDATE invoice_line l SET credited_minor = l.credited_minor + NEW.amount_minor
      FROM credit_note n
     WHERE n.id = NEW.credit_note_id AND l.id = NEW.invoice_line_id AND l.invoice_id = n.invoice_id;
    GET DIAGNOSTICS changed = ROW_COUNT;
    IF changed <> 1 THEN
        RAISE EXCEPTION 'a credit note takes off lines of its own invoice only'
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    IF NEW.evened_minor > 0
       AND NOT EXISTS (SELECT FROM invoice_line WHERE id = NEW.invoice_line_id AND kind = 'overage')
    THEN
        RAISE EXCEPTION 'a credit note evens out overage only'
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION credit_note_lines_sum() RETURNS trigger LANGUAGE plpgsql
    SET search_path FROM CURRENT AS $$
DECLARE
    note credit_note;
    lines bigint;
BEGIN
    SELECT * INTO note FROM credit_note WHERE id = (to_jsonb(NEW) ->> TG_ARGV[0])::bigint;
    SELECT coalesce(sum(amount_minor), 0) INTO lines FROM credit_note_line
     WHERE credit_note_id = note.id;
    IF lines <> note.total_minor THEN
        RAISE EXCEPTION 'credit note % totals % but its lines sum to %', note.number, note.total_minor, lines
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION invoice_lines_sum() RETURNS trigger LANGUAGE plpgsql
    SET search_path FROM CURRENT AS $$
DECLARE
    lines bigint;
BEGIN
    SELECT coalesce(sum(amount_minor), 0) INTO lines FROM invoice_line WHERE invoice_id = NEW.id;
    IF NEW.status <> 'draft' AND lines <> NEW.total_minor THEN
        RAISE EXCEPTION 'invoice % totals % but its lines sum to %', NEW.number, NEW.total_minor, lines
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;
