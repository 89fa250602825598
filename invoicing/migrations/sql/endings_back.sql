-- Issued invoices as they were before they could be voided or written off.
DROP TRIGGER follow_void ON invoice_void;
DROP TRIGGER follow_write_off ON write_off;
DROP TRIGGER keep_rows ON line_usage;
CREATE TRIGGER keep_rows BEFORE UPDATE ON line_usage
    FOR EACH ROW EXECUTE FUNCTION kernel_refuse_change();
ALTER TABLE line_usage ENABLE ALWAYS TRIGGER keep_rows;
DROP FUNCTION invoice_follow_void, invoice_follow_write_off, line_usage_keep;
CREATE OR REPLACE FUNCTION invoice_keep_issued() RETURNS trigger LANGUAGE plpgsql
    SET search_path FROM CURRENT AS $$
DECLARE
    moving text[] := ARRAY['status', 'paid_minor', 'applied_minor', 'credited_minor',
                           'returned_minor', 'open_minor'];
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
           AND NEW.paid_minor = 0 AND NEW.applied_minor = 0
           AND NEW.credited_minor = 0 AND NEW.returned_minor = 0 THEN
            RETURN NEW;
        END IF;
        RAISE EXCEPTION 'an invoice is issued whole and with the number that its series gave last'
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    IF pg_trigger_depth() < 2 OR to_jsonb(OLD) - moving <> to_jsonb(NEW) - moving THEN
        RAISE EXCEPTION 'invoice % is issued: only what settles it moves it', OLD.number
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$;
CREATE OR REPLACE FUNCTION invoice_follow_payment() RETURNS trigger LANGUAGE plpgsql
    SET search_path FROM CURRENT AS $$
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
CREATE OR REPLACE FUNCTION invoice_follow_credit_note() RETURNS trigger LANGUAGE plpgsql
    SET search_path FROM CURRENT AS $$
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
CREATE OR REPLACE FUNCTION invoice_follow_application() RETURNS trigger LANGUAGE plpgsql
    SET search_path FROM CURRENT AS $$
DECLARE
    whose bigint;
BEGIN
    UPDATE invoice SET applied_minor = applied_minor + NEW.amount_minor,
           open_minor = open_minor - NEW.amount_minor,
           status = CASE WHEN open_minor = NEW.amount_minor THEN 'paid' ELSE 'finalized' END
     WHERE id = NEW.invoice_id AND status <> 'draft' AND currency = NEW.currency
    RETURNING customer_id INTO whose;
    IF whose IS NULL THEN
        RAISE EXCEPTION 'a balance pays an issued invoice in its own currency'
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    PERFORM customer_balance_move(whose, NEW.currency, -NEW.amount_minor);
    RETURN NULL;
END $$;
