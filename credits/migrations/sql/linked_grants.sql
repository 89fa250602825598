-- A linked grant is the same credits again: its customer's, of the same unit, category and cost basis.
CREATE FUNCTION credit_grant_link_fits() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM credit_grant o WHERE o.id = NEW.origin_id AND NEW.root_id = coalesce(o.root_id, o.id)
           AND o.customer_id = NEW.customer_id AND o.pricing_unit_id = NEW.pricing_unit_id
           AND o.category = NEW.category AND o.price_minor = NEW.price_minor AND o.currency = NEW.currency
           AND coalesce(o.basis_amount, o.amount) = NEW.basis_amount
    ) THEN
        RAISE EXCEPTION 'a linked grant keeps its origin''s customer, unit, category and cost basis'
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER link_fits BEFORE INSERT ON credit_grant
    FOR EACH ROW WHEN (NEW.origin_id IS NOT NULL) EXECUTE FUNCTION credit_grant_link_fits();
ALTER TABLE credit_grant ENABLE ALWAYS TRIGGER link_fits;
