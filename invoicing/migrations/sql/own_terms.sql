-- Terms that were made for one customer are sold to nobody else.
CREATE FUNCTION plan_version_own_terms() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    buyer bigint;
BEGIN
    IF TG_TABLE_NAME = 'subscription' THEN
        buyer := NEW.customer_id;
    ELSE
        SELECT customer_id INTO buyer FROM subscription WHERE id = NEW.subscription_id;
    END IF;
    IF EXISTS (SELECT FROM plan_version v WHERE v.id = NEW.plan_version_id AND v.customer_id <> buyer) THEN
        RAISE EXCEPTION 'plan version % is made for another customer', NEW.plan_version_id
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER own_terms BEFORE INSERT ON subscription
    FOR EACH ROW EXECUTE FUNCTION plan_version_own_terms();
ALTER TABLE subscription ENABLE ALWAYS TRIGGER own_terms;
CREATE TRIGGER own_terms BEFORE INSERT ON subscription_change
    FOR EACH ROW EXECUTE FUNCTION plan_version_own_terms();
ALTER TABLE subscription_change ENABLE ALWAYS TRIGGER own_terms;
