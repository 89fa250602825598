-- A coupon is redeemed while it runs, one after the other, as often as it allows. The coupon is held
-- meanwhile, so that of two redemptions at once the second sees the first.
CREATE FUNCTION coupon_redeem() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    terms coupon;
    taken bigint;
BEGIN
    SELECT * INTO terms FROM coupon WHERE id = NEW.coupon_id FOR NO KEY UPDATE;
    SELECT count(*) INTO taken FROM coupon_redemption WHERE coupon_id = NEW.coupon_id;
    IF NEW.redeemed_at < terms.starts_at OR NEW.redeemed_at >= terms.expires_at THEN
        RAISE EXCEPTION 'coupon % does not run at %', terms.code, NEW.redeemed_at
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    IF taken >= terms.max_redemptions OR NEW.sequence <> taken + 1 THEN
        RAISE EXCEPTION 'coupon % was redeemed % of % times', terms.code, taken, terms.max_redemptions
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER redeem BEFORE INSERT ON coupon_redemption
    FOR EACH ROW EXECUTE FUNCTION coupon_redeem();
ALTER TABLE coupon_redemption ENABLE ALWAYS TRIGGER redeem;

-- What came off a line is frozen with its invoice, as rated usage is.
CREATE TRIGGER keep_issued_from_more AFTER INSERT ON line_discount
    REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION line_usage_keep_issued();
ALTER TABLE line_discount ENABLE ALWAYS TRIGGER keep_issued_from_more;
CREATE TRIGGER keep_issued_from_less AFTER DELETE ON line_discount
    REFERENCING OLD TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION line_usage_keep_issued();
ALTER TABLE line_discount ENABLE ALWAYS TRIGGER keep_issued_from_less;
CREATE TRIGGER keep_rows BEFORE UPDATE ON line_discount
    FOR EACH ROW EXECUTE FUNCTION kernel_refuse_change();
ALTER TABLE line_discount ENABLE ALWAYS TRIGGER keep_rows;
CREATE TRIGGER keep_table BEFORE TRUNCATE ON line_discount
    FOR EACH STATEMENT EXECUTE FUNCTION kernel_refuse_change();
ALTER TABLE line_discount ENABLE ALWAYS TRIGGER keep_table;
