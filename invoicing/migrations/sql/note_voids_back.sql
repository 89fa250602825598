-- Notes as they were before they could be voided.
DROP TRIGGER follow_void ON credit_note_void;
DROP FUNCTION credit_note_follow_void;
CREATE OR REPLACE FUNCTION invoice_keep_issued() RETURNS trigger LANGUAGE plpgsql
    SET search_path FROM CURRENT AS $$
DECLARE
    moving text[] := ARRAY['status', 'paid_minor', 'applied_minor', 'credited_minor',
                           'returned_minor', 'open_minor', 'written_off_minor'];
    moves text[] := ARRAY['finalized finalized', 'finalized paid', 'finalized void',
                          'finalized uncollectible', 'paid paid', 'uncollectible uncollectible',
                          'uncollectible paid'];
    newest bigint;
    biller bigint;
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
        SELECT entity_id INTO biller FROM customer_entity WHERE customer_id = NEW.customer_id;
        IF NEW.entity_id <> coalesce(biller, 1) THEN
            RAISE EXCEPTION 'invoice % is not of the entity that bills its customer', NEW.id
                USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
        END IF;
        SELECT last_number INTO newest FROM number_series
         WHERE entity_id = NEW.entity_id AND code = 'INV';
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
CREATE OR REPLACE FUNCTION refund_within_note() RETURNS trigger LANGUAGE plpgsql
    SET search_path FROM CURRENT AS $$
DECLARE
    note credit_note;
    whose bigint;
    refunded bigint;
BEGIN
    IF NEW.credit_note_id IS NULL THEN
        RETURN NULL;
    END IF;
    SELECT * INTO note FROM credit_note WHERE id = NEW.credit_note_id FOR NO KEY UPDATE;
    SELECT customer_id INTO whose FROM invoice WHERE id = note.invoice_id;
    SELECT sum(amount_minor) INTO refunded FROM refund WHERE credit_note_id = note.id;
    IF whose <> NEW.customer_id OR note.currency <> NEW.currency
       OR refunded > note.refund_minor THEN
        RAISE EXCEPTION 'refunds of credit note % are % of % % to refund', note.number, refunded,
            note.refund_minor, note.currency
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;
