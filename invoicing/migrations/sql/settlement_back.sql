-- Issued invoices as they were before customers had a balance.
DROP TRIGGER follow_application ON balance_application;
DROP TRIGGER keep_balance ON credit_note;
DROP TRIGGER return_money ON credit_note;
DROP TRIGGER keep_within_note ON refund;
DROP TRIGGER keep_balance ON refund_failure;
DROP TRIGGER keep_rows ON customer_balance;
DROP TRIGGER keep_table ON customer_balance;
DROP FUNCTION invoice_follow_application, customer_balance_follow_note, invoice_follow_returned,
    refund_within_note, customer_balance_follow_failure, customer_balance_keep,
    customer_balance_move;
CREATE OR REPLACE FUNCTION invoice_keep_issued() RETURNS trigger LANGUAGE plpgsql
    SET search_path FROM CURRENT AS $$
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
