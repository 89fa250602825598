-- An issued invoice keeps its facts; payments, the customer's balance and credit notes move what it
-- still owes.
CREATE OR REPLACE FUNCTION invoice_keep_issued() RETURNS trigger LANGUAGE plpgsql AS $$
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

-- A customer's balance moves with the facts that it is the sum of, and by nothing else.
CREATE FUNCTION customer_balance_keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'DELETE' AND pg_trigger_depth() >= 2 THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'a customer''s balance follows its facts: % refused', TG_OP
        USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
END $$;
CREATE TRIGGER keep_rows BEFORE INSERT OR UPDATE OR DELETE ON customer_balance
    FOR EACH ROW EXECUTE FUNCTION customer_balance_keep();
ALTER TABLE customer_balance ENABLE ALWAYS TRIGGER keep_rows;
CREATE TRIGGER keep_table BEFORE TRUNCATE ON customer_balance
    FOR EACH STATEMENT EXECUTE FUNCTION kernel_refuse_change();
ALTER TABLE customer_balance ENABLE ALWAYS TRIGGER keep_table;

-- The row is held until the change commits, so that of two at once each sees what the other left.
CREATE FUNCTION customer_balance_move(whose bigint, in_currency text, minor bigint)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF minor > 0 THEN
        INSERT INTO customer_balance (customer_id, currency, balance_minor)
        VALUES (whose, in_currency, minor)
        ON CONFLICT (customer_id, currency) DO UPDATE
        SET balance_minor = customer_balance.balance_minor + EXCLUDED.balance_minor;
        RETURN;
    END IF;
    UPDATE customer_balance SET balance_minor = balance_minor + minor
     WHERE customer_id = whose AND currency = in_currency;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'customer % has no balance in %', whose, in_currency
            USING ERRCODE = 'check_violation', TABLE = 'customer_balance';
    END IF;
END $$;

-- An application takes from the balance of the invoice's own customer and currency.
CREATE FUNCTION invoice_follow_application() RETURNS trigger LANGUAGE plpgsql AS $$
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
CREATE TRIGGER follow_application AFTER INSERT ON balance_application
    FOR EACH ROW EXECUTE FUNCTION invoice_follow_application();
ALTER TABLE balance_application ENABLE ALWAYS TRIGGER follow_application;

CREATE FUNCTION customer_balance_follow_note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM customer_balance_move(
        (SELECT customer_id FROM invoice WHERE id = NEW.invoice_id), NEW.currency,
        NEW.balance_minor);
    RETURN NULL;
END $$;
CREATE TRIGGER keep_balance AFTER INSERT ON credit_note
    FOR EACH ROW WHEN (NEW.balance_minor > 0) EXECUTE FUNCTION customer_balance_follow_note();
ALTER TABLE credit_note ENABLE ALWAYS TRIGGER keep_balance;

-- No more money goes back for an invoice than was paid for it: a CHECK bounds the sum.
CREATE FUNCTION invoice_follow_returned() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE invoice
       SET returned_minor = returned_minor + NEW.refund_minor + NEW.out_of_band_minor
     WHERE id = NEW.invoice_id;
    RETURN NULL;
END $$;
CREATE TRIGGER return_money AFTER INSERT ON credit_note
    FOR EACH ROW WHEN (NEW.refund_minor + NEW.out_of_band_minor > 0)
    EXECUTE FUNCTION invoice_follow_returned();
ALTER TABLE credit_note ENABLE ALWAYS TRIGGER return_money;

-- Refunds stay within the refund part of their note, which is held until they commit. One that
-- failed used its share up: it went to the balance.
CREATE FUNCTION refund_within_note() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    note credit_note;
    refunded bigint;
BEGIN
    SELECT * INTO note FROM credit_note WHERE id = NEW.credit_note_id FOR NO KEY UPDATE;
    SELECT sum(amount_minor) INTO refunded FROM refund WHERE credit_note_id = note.id;
    IF note.currency <> NEW.currency OR refunded > note.refund_minor THEN
        RAISE EXCEPTION 'refunds of credit note % are % of % % to refund', note.number, refunded,
            note.refund_minor, note.currency
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER keep_within_note AFTER INSERT ON refund
    FOR EACH ROW EXECUTE FUNCTION refund_within_note();
ALTER TABLE refund ENABLE ALWAYS TRIGGER keep_within_note;

CREATE FUNCTION customer_balance_follow_failure() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    whose bigint;
    failed refund;
BEGIN
    SELECT * INTO failed FROM refund WHERE id = NEW.refund_id;
    SELECT i.customer_id INTO whose FROM credit_note n JOIN invoice i ON i.id = n.invoice_id
     WHERE n.id = failed.credit_note_id;
    PERFORM customer_balance_move(whose, failed.currency, failed.amount_minor);
    RETURN NULL;
END $$;
CREATE TRIGGER keep_balance AFTER INSERT ON refund_failure
    FOR EACH ROW EXECUTE FUNCTION customer_balance_follow_failure();
ALTER TABLE refund_failure ENABLE ALWAYS TRIGGER keep_balance;
