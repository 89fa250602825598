-- What a hold reserves changes once, as it is settled; its event is named once, and it never ends
-- sooner than was said. Of work whose hold lapsed may still be said that it did not happen.
CREATE OR REPLACE FUNCTION hold_ends_once() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    IF OLD.state = 'released'
        OR (OLD.state = 'lapsed' AND NEW.state <> 'released')
        OR (OLD.state = 'settled' AND NEW.state <> 'settled')
        OR (OLD.state = 'settled' AND NEW.credits <> OLD.credits)
        OR OLD.counted_at IS NOT NULL THEN
        RAISE EXCEPTION 'hold %: % already', OLD.key, OLD.state
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    IF (NEW.credits, NEW.parts) IS DISTINCT FROM (OLD.credits, OLD.parts)
        AND NOT (OLD.state = 'open' AND NEW.state = 'settled')
        OR (OLD.identifier <> '' AND NEW.identifier <> OLD.identifier)
        OR NEW.expires_at < OLD.expires_at THEN
        RAISE EXCEPTION 'hold %: only its settlement says what it holds', OLD.key
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $body$;
