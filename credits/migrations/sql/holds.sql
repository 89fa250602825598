-- A hold ends once: what was settled, released or lapsed stays so, and what was counted, too.
CREATE FUNCTION hold_ends_once() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    IF OLD.state IN ('released', 'lapsed')
        OR (OLD.state = 'settled' AND NEW.state <> 'settled')
        OR (OLD.state = 'settled' AND NEW.credits <> OLD.credits)
        OR OLD.counted_at IS NOT NULL THEN
        RAISE EXCEPTION 'hold %: % already', OLD.key, OLD.state
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $body$;
CREATE TRIGGER end_once BEFORE UPDATE ON hold
    FOR EACH ROW EXECUTE FUNCTION hold_ends_once();
ALTER TABLE hold ENABLE ALWAYS TRIGGER end_once;
