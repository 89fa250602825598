-- What a payment fell short by is accepted whole, within what was approved; the invoice is paid.
CREATE FUNCTION invoice_follow_short_payment() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed bigint;
BEGIN
    UPDATE invoice i SET status = 'paid', open_minor = 0
      FROM payment p, payment_tolerance t
     WHERE i.id = NEW.invoice_id AND i.status = 'finalized' AND i.open_minor = NEW.amount_minor
       AND i.currency = NEW.currency AND p.id = NEW.payment_id AND p.invoice_id = i.id
       AND t.id = NEW.tolerance_id AND t.currency = i.currency
       AND t.most_minor >= NEW.amount_minor;
    GET DIAGNOSTICS changed = ROW_COUNT;
    IF changed <> 1 THEN
        RAISE EXCEPTION 'a short payment leaves all that is open, within the tolerance of its currency'
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER follow_short_payment AFTER INSERT ON short_payment
    FOR EACH ROW EXECUTE FUNCTION invoice_follow_short_payment();
ALTER TABLE short_payment ENABLE ALWAYS TRIGGER follow_short_payment;
