-- What an event waits for changes only beside the try that found it; the try says what it was.
CREATE FUNCTION quarantined_event_reason_of_try() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    newest quarantine_try;
BEGIN
    SELECT * INTO newest FROM quarantine_try WHERE event_id = NEW.id ORDER BY id DESC LIMIT 1;
    IF NEW.state <> 'open' OR newest.id IS NULL
       OR (newest.reason_before, newest.detail_before) IS DISTINCT FROM (OLD.reason, OLD.detail)
       OR (newest.reason, newest.detail) IS DISTINCT FROM (NEW.reason, NEW.detail) THEN
        RAISE EXCEPTION 'what event % of the quarantine waits for changes only by a try', NEW.id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER reason_of_try BEFORE UPDATE ON quarantined_event FOR EACH ROW
    WHEN (OLD.reason::text <> NEW.reason::text OR OLD.detail <> NEW.detail)
    EXECUTE FUNCTION quarantined_event_reason_of_try();
ALTER TABLE quarantined_event ENABLE ALWAYS TRIGGER reason_of_try;
