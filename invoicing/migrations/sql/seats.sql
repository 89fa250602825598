-- At no instant are there fewer than no seats. The subscription is held meanwhile, so that of two
-- removals at once the second sees the first.
CREATE FUNCTION seat_change_never_negative() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    least bigint;
BEGIN
    PERFORM FROM subscription WHERE id = NEW.subscription_id FOR NO KEY UPDATE;
    SELECT min(total) INTO least FROM (
        SELECT sum(sum(seats)) OVER (ORDER BY effective_at) AS total
          FROM seat_change WHERE subscription_id = NEW.subscription_id
         GROUP BY effective_at) running;
    IF least < 0 THEN
        RAISE EXCEPTION 'subscription % would have % seats', NEW.subscription_id, least
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER never_negative AFTER INSERT ON seat_change
    FOR EACH ROW EXECUTE FUNCTION seat_change_never_negative();
ALTER TABLE seat_change ENABLE ALWAYS TRIGGER never_negative;
