-- An issued invoice keeps its facts; what settles or ends it moves what it still owes, from state to
-- state as told here. Void is the end; what was written off can still be paid.
CREATE OR REPLACE FUNCTION invoice_keep_issued() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    moving text[] := ARRAY['status', 'paid_minor', 'applied_minor', 'credited_minor',
                           'returned_minor', 'open_minor', 'written_off_minor'];
    moves text[] := ARRAY['finalized finalized', 'finalized paid', 'finalized void',
                          'finalized uncollectible', 'paid paid', 'uncollectible uncollectible',
                          'uncollectible paid'];
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
           AND NEW.status IN ('finalized', 'paid') AND NEW.paid_minor = 0
           AND NEW.applied_minor = 0 AND NEW.credited_minor = 0 AND NEW.returned_minor = 0 THEN
            RETURN NEW;
        END IF;
        RAISE EXCEPTION 'an invoice is issued whole and with the number that its series gave last'
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    IF pg_trigger_depth() < 2 OR to_jsonb(OLD) - moving <> to_jsonb(NEW) - moving THEN
        RAISE EXCEPTION 'invoice % is issued: only what settles it moves it', OLD.number
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    IF NOT OLD.status || ' ' || NEW.status = ANY (moves) THEN
        RAISE EXCEPTION 'invoice % is %: it does not become %', OLD.number, OLD.status, NEW.status
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$;

-- A recovery pays what was written off; any other payment what is open.
CREATE OR REPLACE FUNCTION invoice_follow_payment() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed bigint;
BEGIN
    IF NEW.is_recovery THEN
        UPDATE invoice SET paid_minor = paid_minor + NEW.amount_minor,
               written_off_minor = written_off_minor - NEW.amount_minor,
               status = CASE WHEN written_off_minor = NEW.amount_minor THEN 'paid'
                             ELSE 'uncollectible' END
         WHERE id = NEW.invoice_id AND status = 'uncollectible' AND currency = NEW.currency;
    ELSE
        UPDATE invoice SET paid_minor = paid_minor + NEW.amount_minor,
               open_minor = open_minor - NEW.amount_minor,
               status = CASE WHEN open_minor = NEW.amount_minor THEN 'paid' ELSE 'finalized' END
         WHERE id = NEW.invoice_id AND status IN ('finalized', 'paid')
           AND currency = NEW.currency;
    END IF;
    GET DIAGNOSTICS changed = ROW_COUNT;
    IF changed <> 1 THEN
        RAISE EXCEPTION 'a payment needs an issued invoice in its own currency, a recovery one that was written off'
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION invoice_follow_credit_note() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed bigint;
BEGIN
    UPDATE invoice SET credited_minor = credited_minor + NEW.total_minor,
           open_minor = open_minor - NEW.open_minor,
           status = CASE WHEN open_minor = NEW.open_minor THEN 'paid' ELSE 'finalized' END
     WHERE id = NEW.invoice_id AND status IN ('finalized', 'paid') AND currency = NEW.currency;
    GET DIAGNOSTICS changed = ROW_COUNT;
    IF changed <> 1 THEN
        RAISE EXCEPTION 'a credit note needs an issued invoice in its own currency'
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION invoice_follow_application() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    whose bigint;
BEGIN
    UPDATE invoice SET applied_minor = applied_minor + NEW.amount_minor,
           open_minor = open_minor - NEW.amount_minor,
           status = CASE WHEN open_minor = NEW.amount_minor THEN 'paid' ELSE 'finalized' END
     WHERE id = NEW.invoice_id AND status IN ('finalized', 'paid') AND currency = NEW.currency
    RETURNING customer_id INTO whose;
    IF whose IS NULL THEN
        RAISE EXCEPTION 'a balance pays an issued invoice in its own currency'
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    PERFORM customer_balance_move(whose, NEW.currency, -NEW.amount_minor);
    RETURN NULL;
END $$;

-- A void takes back what nothing settled yet, and frees the usage behind it to be billed again.
CREATE FUNCTION invoice_follow_void() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed bigint;
BEGIN
    UPDATE invoice SET status = 'void', open_minor = 0
     WHERE id = NEW.invoice_id AND status = 'finalized' AND open_minor = total_minor;
    GET DIAGNOSTICS changed = ROW_COUNT;
    IF changed <> 1 THEN
        RAISE EXCEPTION 'only an issued invoice that nothing settled is voided'
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    UPDATE line_usage SET is_void = true
     WHERE line_id IN (SELECT id FROM invoice_line WHERE invoice_id = NEW.invoice_id);
    RETURN NULL;
END $$;
CREATE TRIGGER follow_void AFTER INSERT ON invoice_void
    FOR EACH ROW EXECUTE FUNCTION invoice_follow_void();
ALTER TABLE invoice_void ENABLE ALWAYS TRIGGER follow_void;

-- A write-off gives up all that is still open.
CREATE FUNCTION invoice_follow_write_off() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed bigint;
BEGIN
    UPDATE invoice SET status = 'uncollectible', written_off_minor = open_minor, open_minor = 0
     WHERE id = NEW.invoice_id AND status = 'finalized' AND open_minor = NEW.amount_minor
       AND currency = NEW.currency;
    GET DIAGNOSTICS changed = ROW_COUNT;
    IF changed <> 1 THEN
        RAISE EXCEPTION 'a write-off gives up what an issued invoice still owes, all of it'
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER follow_write_off AFTER INSERT ON write_off
    FOR EACH ROW EXECUTE FUNCTION invoice_follow_write_off();
ALTER TABLE write_off ENABLE ALWAYS TRIGGER follow_write_off;

-- The usage behind a line changes in one way only: its invoice becomes void.
CREATE FUNCTION line_usage_keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF pg_trigger_depth() >= 2 AND NEW.is_void AND NOT OLD.is_void
       AND to_jsonb(OLD) - 'is_void' = to_jsonb(NEW) - 'is_void' THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'line_usage is append-only: % refused', TG_OP
        USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
END $$;
DROP TRIGGER keep_rows ON line_usage;
CREATE TRIGGER keep_rows BEFORE UPDATE ON line_usage
    FOR EACH ROW EXECUTE FUNCTION line_usage_keep();
ALTER TABLE line_usage ENABLE ALWAYS TRIGGER keep_rows;
