CREATE OR REPLACE FUNCTION meter_version_in_order() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM meter WHERE id = NEW.meter_id FOR NO KEY UPDATE;
    IF TG_OP = 'INSERT' THEN
        IF NOT EXISTS (
            SELECT FROM meter WHERE id = NEW.meter_id AND CASE aggregation
                WHEN 'count' THEN NEW.value_property = '' AND NEW.constant_value IS NULL
                WHEN 'unique' THEN NEW.value_property <> '' AND NEW.constant_value IS NULL
                ELSE (NEW.value_property = '') = (NEW.constant_value IS NOT NULL) END) THEN
            RAISE EXCEPTION 'version % of meter % reads no value, or two', NEW.number, NEW.meter_id
                USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
        END IF;
        IF NEW.withdrawn_at IS NOT NULL OR NEW.number <> 1 + coalesce(
            (SELECT max(number) FROM meter_version WHERE meter_id = NEW.meter_id), 0) THEN
            RAISE EXCEPTION 'version % of meter % is not the next one', NEW.number, NEW.meter_id
                USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
        END IF;
        IF NEW.effective_at <= (SELECT max(effective_at) FROM meter_version
                                WHERE meter_id = NEW.meter_id AND withdrawn_at IS NULL)
           OR NEW.effective_at <> date_bin('1 hour', NEW.effective_at,
                                           TIMESTAMPTZ '2000-01-01 00:00+00') THEN
            RAISE EXCEPTION 'version % of meter % takes effect at a whole hour after the others',
                NEW.number, NEW.meter_id
                USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
        END IF;
    ELSIF OLD.withdrawn_at IS NOT NULL THEN
        RAISE EXCEPTION 'meter version % was withdrawn already', OLD.id
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    IF NEW.effective_at IS NOT NULL
       AND EXISTS (SELECT FROM event_batch WHERE last_timestamp >= NEW.effective_at) THEN
        RAISE EXCEPTION 'events of the span of meter version % are stored already', NEW.number
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$;
