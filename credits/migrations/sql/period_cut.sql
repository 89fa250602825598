-- A billing period ends earlier where other terms begin, or again where it was opened to end. Usage
-- that is rated in it stays in it.
CREATE FUNCTION billing_period_cut() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF coalesce(NEW.uncut_end_at, NEW.end_at) <> coalesce(OLD.uncut_end_at, OLD.end_at) THEN
        RAISE EXCEPTION 'billing period % keeps the end that it was opened with', OLD.id
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    IF EXISTS (SELECT FROM rated_usage r
                WHERE r.billing_period_id = NEW.id AND r.service_at >= NEW.end_at) THEN
        RAISE EXCEPTION 'billing period % has rated usage beyond its new end', NEW.id
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER cut_fits BEFORE UPDATE ON billing_period
    FOR EACH ROW EXECUTE FUNCTION billing_period_cut();
ALTER TABLE billing_period ENABLE ALWAYS TRIGGER cut_fits;
