-- What was sent long ago is forgotten: a delivery that has ended may go, and once none is left of an
-- event its words may. That it happened stays, by its key, so that nobody is told of it twice.
DROP TRIGGER keep_rows ON webhook_event;
DROP TRIGGER keep_rows ON webhook_delivery;

CREATE FUNCTION webhook_event_keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.body = '' AND to_jsonb(OLD) - 'body' = to_jsonb(NEW) - 'body'
       AND NOT EXISTS (SELECT FROM webhook_delivery WHERE event_id = OLD.id) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'webhook_event keeps its facts: % refused', TG_OP
        USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
END $$;
CREATE TRIGGER keep_rows BEFORE UPDATE OR DELETE ON webhook_event
    FOR EACH ROW EXECUTE FUNCTION webhook_event_keep();
ALTER TABLE webhook_event ENABLE ALWAYS TRIGGER keep_rows;

CREATE FUNCTION webhook_delivery_keep_waiting() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.next_try_at IS NULL THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'webhook_delivery % waits: % refused', OLD.id, TG_OP
        USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
END $$;
CREATE TRIGGER keep_waiting BEFORE DELETE ON webhook_delivery
    FOR EACH ROW EXECUTE FUNCTION webhook_delivery_keep_waiting();
ALTER TABLE webhook_delivery ENABLE ALWAYS TRIGGER keep_waiting;

CREATE TRIGGER keep_rows BEFORE UPDATE ON webhook_delivery FOR EACH ROW
    EXECUTE FUNCTION kernel_refuse_other_changes(
        'attempts', 'next_try_at', 'last_tried_at', 'delivered_at', 'given_up_at', 'status',
        'failure');
ALTER TABLE webhook_delivery ENABLE ALWAYS TRIGGER keep_rows;
