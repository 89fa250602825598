CREATE OR REPLACE FUNCTION hold_ends_once() RETURNS trigger LANGUAGE plpgsql AS $body$
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
