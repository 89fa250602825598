-- A pin is part of a proposal: it joins only while its change is undecided, and names a version of its
-- card. The lock makes a decision wait for pins that are on their way, and them for a decision.
CREATE FUNCTION rate_pin_only_proposed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    state text;
BEGIN
    SELECT status INTO state FROM policy_change WHERE id = NEW.policy_change_id FOR SHARE;
    IF state NOT IN ('proposed', 'submitted') THEN
        RAISE EXCEPTION 'rate_pin takes no rows after the decision on its change'
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    IF NEW.version_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM rate_card_version v WHERE v.id = NEW.version_id AND v.rate_card_id = NEW.rate_card_id
    ) THEN
        RAISE EXCEPTION 'rate_pin names a version of another rate card'
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER only_proposed BEFORE INSERT ON rate_pin
    FOR EACH ROW EXECUTE FUNCTION rate_pin_only_proposed();
ALTER TABLE rate_pin ENABLE ALWAYS TRIGGER only_proposed;

-- An override stands on a card that overrides none itself, in the same pricing unit.
CREATE FUNCTION rate_card_override_fits() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM rate_card b WHERE b.id = NEW.base_id AND b.base_id IS NULL
           AND b.pricing_unit_id = NEW.pricing_unit_id
    ) THEN
        RAISE EXCEPTION 'rate_card overrides a card of the same pricing unit that overrides none'
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER override_fits BEFORE INSERT ON rate_card
    FOR EACH ROW WHEN (NEW.base_id IS NOT NULL) EXECUTE FUNCTION rate_card_override_fits();
ALTER TABLE rate_card ENABLE ALWAYS TRIGGER override_fits;
