-- A void of a note gives back what the note did: lines, claim and balance. Nothing may have gone
-- back as money; the note is held until it commits, as by a refund.
CREATE FUNCTION credit_note_follow_void() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    note credit_note;
    whose bigint;
BEGIN
    SELECT * INTO note FROM credit_note WHERE id = NEW.credit_note_id FOR NO KEY UPDATE;
    IF note.out_of_band_minor > 0
       OR EXISTS (SELECT FROM refund WHERE credit_note_id = note.id) THEN
        RAISE EXCEPTION 'money went back for credit note %: it stays', note.number
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    UPDATE invoice_line l SET credited_minor = l.credited_minor - c.amount_minor,
           tax_credited_minor = l.tax_credited_minor - c.tax_minor
      FROM credit_note_line c
     WHERE c.credit_note_id = note.id AND l.id = c.invoice_line_id;
    UPDATE invoice SET credited_minor = credited_minor - note.total_minor,
           open_minor = open_minor + note.open_minor,
           returned_minor = returned_minor - note.refund_minor,
           status = CASE WHEN open_minor + note.open_minor > 0 THEN 'finalized' ELSE 'paid' END
     WHERE id = note.invoice_id AND status IN ('finalized', 'paid')
    RETURNING customer_id INTO whose;
    IF whose IS NULL THEN
        RAISE EXCEPTION 'the invoice of credit note % has ended: the note stays', note.number
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    IF note.balance_minor > 0 THEN
        PERFORM customer_balance_move(whose, note.currency, -note.balance_minor);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER follow_void AFTER INSERT ON credit_note_void
    FOR EACH ROW EXECUTE FUNCTION credit_note_follow_void();
ALTER TABLE credit_note_void ENABLE ALWAYS TRIGGER follow_void;

-- What a void note took off is owed again: the only way back from paid.
CREATE OR REPLACE FUNCTION invoice_keep_issued() RETURNS trigger LANGUAGE plpgsql AS $$
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
    IF NOT OLD.status || ' ' || NEW.status = ANY (moves)
       AND NOT (OLD.status = 'paid' AND NEW.status = 'finalized'
                AND NEW.credited_minor < OLD.credited_minor) THEN
        RAISE EXCEPTION 'invoice % is %: it does not become %', OLD.number, OLD.status, NEW.status
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$;

-- Nothing is refunded for a void note.
CREATE OR REPLACE FUNCTION refund_within_note() RETURNS trigger LANGUAGE plpgsql AS $$
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
       OR refunded > note.refund_minor
       OR EXISTS (SELECT FROM credit_note_void WHERE credit_note_id = note.id) THEN
        RAISE EXCEPTION 'refunds of credit note % are % of % % to refund', note.number, refunded,
            note.refund_minor, note.currency
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;
