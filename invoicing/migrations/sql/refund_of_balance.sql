-- A refund for a note goes to the note's own customer and stays within its refund part; the note is
-- held until it commits. One that failed used its share up: it went to the balance.
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
       OR refunded > note.refund_minor THEN
        RAISE EXCEPTION 'refunds of credit note % are % of % % to refund', note.number, refunded,
            note.refund_minor, note.currency
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;

-- Any other refund is out of the balance.
CREATE FUNCTION customer_balance_follow_refund() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM customer_balance_move(NEW.customer_id, NEW.currency, -NEW.amount_minor);
    RETURN NULL;
END $$;
CREATE TRIGGER keep_balance AFTER INSERT ON refund
    FOR EACH ROW WHEN (NEW.credit_note_id IS NULL)
    EXECUTE FUNCTION customer_balance_follow_refund();
ALTER TABLE refund ENABLE ALWAYS TRIGGER keep_balance;

CREATE OR REPLACE FUNCTION customer_balance_follow_failure() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    failed refund;
BEGIN
    SELECT * INTO failed FROM refund WHERE id = NEW.refund_id;
    PERFORM customer_balance_move(failed.customer_id, failed.currency, failed.amount_minor);
    RETURN NULL;
END $$;
