-- A draft may be rebuilt and becomes issued with the number that the series gave last; an issued
-- invoice keeps its facts, and only payments and credit notes move what it still owes.
CREATE FUNCTION invoice_keep_issued() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    moving text[] := ARRAY['status', 'paid_minor', 'credited_minor', 'open_minor'];
    newest bigint;
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.status <> 'draft' THEN
            RAISE EXCEPTION 'an invoice starts as a draft'
                USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
        END IF;
        RETURN NEW;
    END IF;
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'invoices are kept: DELETE refused'
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    IF OLD.status = 'draft' THEN
        IF NEW.status = 'draft' THEN
            RETURN NEW;
        END IF;
        SELECT last_number INTO newest FROM number_series WHERE code = 'INV';
        IF NEW.sequence = newest AND NEW.open_minor = NEW.total_minor
           AND NEW.paid_minor = 0 AND NEW.credited_minor = 0 THEN
            RETURN NEW;
        END IF;
        RAISE EXCEPTION 'an invoice is issued whole and with the number that its series gave last'
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    IF pg_trigger_depth() < 2 OR to_jsonb(OLD) - moving <> to_jsonb(NEW) - moving THEN
        RAISE EXCEPTION 'invoice % is issued: only payments and credit notes move it', OLD.number
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER keep_rows BEFORE INSERT OR UPDATE OR DELETE ON invoice
    FOR EACH ROW EXECUTE FUNCTION invoice_keep_issued();
ALTER TABLE invoice ENABLE ALWAYS TRIGGER keep_rows;
CREATE TRIGGER keep_table BEFORE TRUNCATE ON invoice
    FOR EACH STATEMENT EXECUTE FUNCTION kernel_refuse_change();
ALTER TABLE invoice ENABLE ALWAYS TRIGGER keep_table;

-- Lines join, change and leave while their invoice is a draft; afterwards only what a credit note
-- took off moves. The invoice is held until the change commits, so that none is issued meanwhile.
CREATE FUNCTION invoice_line_keep_issued() RETURNS trigger LANGUAGE plpgsql AS $$
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
CREATE TRIGGER keep_rows BEFORE INSERT OR UPDATE OR DELETE ON invoice_line
    FOR EACH ROW EXECUTE FUNCTION invoice_line_keep_issued();
ALTER TABLE invoice_line ENABLE ALWAYS TRIGGER keep_rows;
CREATE TRIGGER keep_table BEFORE TRUNCATE ON invoice_line
    FOR EACH STATEMENT EXECUTE FUNCTION kernel_refuse_change();
ALTER TABLE invoice_line ENABLE ALWAYS TRIGGER keep_table;

-- The rated usage behind a line is frozen with its invoice, which is held until the change commits.
-- Whole statements are judged: a draft takes tens of thousands of rows at once.
CREATE FUNCTION line_usage_keep_issued() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    issued boolean;
BEGIN
    SELECT bool_or(status <> 'draft') INTO issued FROM (
        SELECT status FROM invoice
         WHERE id IN (SELECT l.invoice_id FROM invoice_line l
                       WHERE l.id IN (SELECT u.line_id FROM changed_rows u))
         ORDER BY id FOR SHARE) held;
    IF issued THEN
        RAISE EXCEPTION 'usage behind an issued line is frozen: % refused', TG_OP
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER keep_issued_from_more AFTER INSERT ON line_usage
    REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION line_usage_keep_issued();
ALTER TABLE line_usage ENABLE ALWAYS TRIGGER keep_issued_from_more;
CREATE TRIGGER keep_issued_from_less AFTER DELETE ON line_usage
    REFERENCING OLD TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION line_usage_keep_issued();
ALTER TABLE line_usage ENABLE ALWAYS TRIGGER keep_issued_from_less;
CREATE TRIGGER keep_rows BEFORE UPDATE ON line_usage
    FOR EACH ROW EXECUTE FUNCTION kernel_refuse_change();
ALTER TABLE line_usage ENABLE ALWAYS TRIGGER keep_rows;
CREATE TRIGGER keep_table BEFORE TRUNCATE ON line_usage
    FOR EACH STATEMENT EXECUTE FUNCTION kernel_refuse_change();
ALTER TABLE line_usage ENABLE ALWAYS TRIGGER keep_table;

CREATE FUNCTION invoice_follow_payment() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed bigint;
BEGIN
    UPDATE invoice SET paid_minor = paid_minor + NEW.amount_minor,
           open_minor = open_minor - NEW.amount_minor,
           status = CASE WHEN open_minor = NEW.amount_minor THEN 'paid' ELSE 'finalized' END
     WHERE id = NEW.invoice_id AND status <> 'draft' AND currency = NEW.currency;
    GET DIAGNOSTICS changed = ROW_COUNT;
    IF changed <> 1 THEN
        RAISE EXCEPTION 'a payment needs an issued invoice in its own currency'
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER follow_payment AFTER INSERT ON payment
    FOR EACH ROW EXECUTE FUNCTION invoice_follow_payment();
ALTER TABLE payment ENABLE ALWAYS TRIGGER follow_payment;

CREATE FUNCTION invoice_follow_credit_note() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed bigint;
BEGIN
    UPDATE invoice SET credited_minor = credited_minor + NEW.total_minor,
           open_minor = open_minor - NEW.open_minor,
           status = CASE WHEN open_minor = NEW.open_minor THEN 'paid' ELSE 'finalized' END
     WHERE id = NEW.invoice_id AND status <> 'draft' AND currency = NEW.currency;
    GET DIAGNOSTICS changed = ROW_COUNT;
    IF changed <> 1 THEN
        RAISE EXCEPTION 'a credit note needs an issued invoice in its own currency'
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER follow_credit_note AFTER INSERT ON credit_note
    FOR EACH ROW EXECUTE FUNCTION invoice_follow_credit_note();
ALTER TABLE credit_note ENABLE ALWAYS TRIGGER follow_credit_note;

CREATE FUNCTION invoice_line_follow_credit_note() RETURNS trigger LANGUAGE plpgsql AS $$
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
CREATE TRIGGER follow_credit_note_line AFTER INSERT ON credit_note_line
    FOR EACH ROW EXECUTE FUNCTION invoice_line_follow_credit_note();
ALTER TABLE credit_note_line ENABLE ALWAYS TRIGGER follow_credit_note_line;

-- At commit a note's lines sum to the note, whichever of them came.
CREATE FUNCTION credit_note_lines_sum() RETURNS trigger LANGUAGE plpgsql AS $$
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
CREATE CONSTRAINT TRIGGER lines_sum AFTER INSERT ON credit_note
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION credit_note_lines_sum('id');
ALTER TABLE credit_note ENABLE ALWAYS TRIGGER lines_sum;
CREATE CONSTRAINT TRIGGER lines_sum AFTER INSERT ON credit_note_line
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    EXECUTE FUNCTION credit_note_lines_sum('credit_note_id');
ALTER TABLE credit_note_line ENABLE ALWAYS TRIGGER lines_sum;

-- At commit an issued invoice's lines sum to its total.
CREATE FUNCTION invoice_lines_sum() RETURNS trigger LANGUAGE plpgsql AS $$
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
CREATE CONSTRAINT TRIGGER lines_sum AFTER INSERT OR UPDATE ON invoice
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION invoice_lines_sum();
ALTER TABLE invoice ENABLE ALWAYS TRIGGER lines_sum;

-- Numbers are taken one after the other and never given back.
CREATE FUNCTION number_series_step() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.code = OLD.code AND NEW.last_number = OLD.last_number + 1 THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'a number series moves by one: % refused', TG_OP
        USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
END $$;
CREATE TRIGGER keep_rows BEFORE UPDATE OR DELETE ON number_series
    FOR EACH ROW EXECUTE FUNCTION number_series_step();
ALTER TABLE number_series ENABLE ALWAYS TRIGGER keep_rows;
CREATE TRIGGER keep_table BEFORE TRUNCATE ON number_series
    FOR EACH STATEMENT EXECUTE FUNCTION kernel_refuse_change();
ALTER TABLE number_series ENABLE ALWAYS TRIGGER keep_table;

-- A credit note is issued at once, with the number that its series gave last.
CREATE FUNCTION credit_note_number() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM number_series WHERE code = 'CN' AND last_number = NEW.sequence) THEN
        RAISE EXCEPTION 'a credit note takes the number that its series gave last'
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER take_number BEFORE INSERT ON credit_note
    FOR EACH ROW EXECUTE FUNCTION credit_note_number();
ALTER TABLE credit_note ENABLE ALWAYS TRIGGER take_number;

-- At commit every number that was taken is on a document: no gaps.
CREATE FUNCTION number_series_used() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.last_number > 0
       AND NOT (NEW.code = 'INV' AND EXISTS (SELECT FROM invoice WHERE sequence = NEW.last_number))
       AND NOT (NEW.code = 'CN' AND EXISTS (SELECT FROM credit_note WHERE sequence = NEW.last_number))
    THEN
        RAISE EXCEPTION 'number % of series % is on no document', NEW.last_number, NEW.code
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER number_used AFTER INSERT OR UPDATE ON number_series
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION number_series_used();
ALTER TABLE number_series ENABLE ALWAYS TRIGGER number_used;
