-- A change holds from its instant on: periods that began then or later keep the plan that they began
-- with, so neither a change nor its undoing comes after them. Undoing is said once.
CREATE FUNCTION subscription_change_in_time() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.undone_at IS NOT NULL THEN
        RAISE EXCEPTION 'subscription change % was undone already', OLD.id
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    IF NEW.kind = 'plan' AND EXISTS (
        SELECT FROM billing_period b JOIN subscription s ON s.customer_id = b.customer_id
         WHERE s.id = NEW.subscription_id AND b.start_at >= NEW.effective_at
           AND starts_with(b.source_key, 'subscription:' || s.id || ':')
    ) THEN
        RAISE EXCEPTION 'a period of subscription % began by then: it keeps its plan',
            NEW.subscription_id USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER in_time BEFORE INSERT OR UPDATE ON subscription_change
    FOR EACH ROW EXECUTE FUNCTION subscription_change_in_time();
ALTER TABLE subscription_change ENABLE ALWAYS TRIGGER in_time;
