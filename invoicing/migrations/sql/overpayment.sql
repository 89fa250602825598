-- Money beyond what an invoice owed is its customer's balance.
CREATE FUNCTION customer_balance_follow_overpayment() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM customer_balance_move(NEW.customer_id, NEW.currency, NEW.amount_minor);
    RETURN NULL;
END $$;
CREATE TRIGGER keep_balance AFTER INSERT ON overpayment
    FOR EACH ROW EXECUTE FUNCTION customer_balance_follow_overpayment();
ALTER TABLE overpayment ENABLE ALWAYS TRIGGER keep_balance;

-- What came for an invoice, or was taken back of it, is its own customer's and in its currency.
CREATE FUNCTION provider_fact_of_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM invoice i WHERE i.id = NEW.invoice_id AND i.status <> 'draft'
                      AND i.customer_id = NEW.customer_id AND i.currency = NEW.currency) THEN
        RAISE EXCEPTION 'it needs an issued invoice of its own customer and currency'
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER of_invoice AFTER INSERT ON overpayment
    FOR EACH ROW EXECUTE FUNCTION provider_fact_of_invoice();
ALTER TABLE overpayment ENABLE ALWAYS TRIGGER of_invoice;
CREATE TRIGGER of_invoice AFTER INSERT ON dispute
    FOR EACH ROW EXECUTE FUNCTION provider_fact_of_invoice();
ALTER TABLE dispute ENABLE ALWAYS TRIGGER of_invoice;
