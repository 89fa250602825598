-- A note takes off what is open or, once that was given up, what was given up: it was never owed.
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
        UPDATE invoice SET credited_minor = credited_minor + NEW.total_minor,
               written_off_minor = written_off_minor - NEW.open_minor,
               status = CASE WHEN written_off_minor = NEW.open_minor THEN 'paid'
                             ELSE 'uncollectible' END
         WHERE id = NEW.invoice_id AND status = 'uncollectible' AND currency = NEW.currency;
        GET DIAGNOSTICS changed = ROW_COUNT;
    END IF;
    IF changed <> 1 THEN
        RAISE EXCEPTION 'a credit note needs an issued invoice in its own currency'
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;

-- A void of a note gives back what the note did: lines, claim and balance. Nothing may have gone
-- back as money, nor may the claim have been given up; the note is held until it commits.
CREATE OR REPLACE FUNCTION credit_note_follow_void() RETURNS trigger LANGUAGE plpgsql AS $$
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
       AND NOT EXISTS (SELECT FROM write_off w WHERE w.invoice_id = note.invoice_id)
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
