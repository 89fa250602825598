-- Only somebody who works here answers for a step: no service, nobody who has left.
CREATE FUNCTION step_owner_check() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT 1 FROM kernel_user WHERE id = NEW.person_id AND is_active AND NOT is_service
    ) THEN
        RAISE EXCEPTION 'user % is not an active person', NEW.person_id
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$;
