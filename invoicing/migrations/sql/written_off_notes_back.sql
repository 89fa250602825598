CREATE OR REPLACE FUNCTION invoice_follow_credit_note() RETURNS trigger LANGUAGE plpgsql
    SET search_path FROM CURRENT AS $$
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
CREATE OR REPLACE FUNCTION credit_note_follow_void() RETURNS trigger LANGUAGE plpgsql
    SET search_path FROM CURRENT AS $$
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
