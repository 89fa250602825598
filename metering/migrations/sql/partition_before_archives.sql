-- How partitions were made before months could be archived.
DROP FUNCTION archive_micros;
DROP FUNCTION archive_hash;
DROP FUNCTION meter_event_drop_detached;
DROP FUNCTION meter_event_attach_partition;
DROP FUNCTION meter_event_detach_partition;
CREATE OR REPLACE FUNCTION meter_event_ensure_partition(month date) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    first date := date_trunc('month', month)::date;
    name text := 'meter_event_' || to_char(first, 'YYYY_MM');
BEGIN
    IF to_regclass(name) IS NOT NULL THEN
        RETURN false;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('meter_event_partition', 0));
    -- The catalogue itself, not to_regclass again: that may answer from before the lock.
    IF EXISTS (SELECT FROM pg_class WHERE relname = name AND relispartition) THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE meter_event INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name);
    EXECUTE format('ALTER TABLE meter_event ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                   name, first::timestamp AT TIME ZONE 'UTC',
                   (first + interval '1 month')::timestamp AT TIME ZONE 'UTC');
    EXECUTE format('CREATE TRIGGER keep_table BEFORE TRUNCATE ON %I FOR EACH STATEMENT'
                   ' EXECUTE FUNCTION kernel_refuse_change()', name);
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER keep_table', name);
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER keep_rows', name);
    RETURN true;
END $$;
DROP FUNCTION meter_event_refuse_archived;
