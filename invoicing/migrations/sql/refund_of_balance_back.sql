-- Refunds as they were when each was for a note.
DROP TRIGGER keep_balance ON refund;
DROP FUNCTION customer_balance_follow_refund;
CREATE OR REPLACE FUNCTION refund_within_note() RETURNS trigger LANGUAGE plpgsql
    SET search_path FROM CURRENT AS $$
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
CREATE OR REPLACE FUNCTION customer_balance_follow_failure() RETURNS trigger LANGUAGE plpgsql
    SET search_path FROM CURRENT AS $$
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
