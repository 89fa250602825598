-- Make the partition of a month unless it stands; an archived month is refused. It runs with the
-- rights of the table's owner, so that a role which may only insert gets its partition too.
CREATE OR REPLACE FUNCTION meter_event_ensure_partition(month date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    first date := date_trunc('month', month)::date;
    name text := 'meter_event_' || to_char(first, 'YYYY_MM');
BEGIN
    PERFORM meter_event_refuse_archived(first);
    IF to_regclass(name) IS NOT NULL THEN
        RETURN false;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('meter_event_partition', 0));
    PERFORM meter_event_refuse_archived(first);
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

CREATE FUNCTION meter_event_refuse_archived(first date) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM archived_month
               WHERE start_at = first::timestamp AT TIME ZONE 'UTC' AND restored_at IS NULL) THEN
        RAISE EXCEPTION 'the events of % are archived', to_char(first, 'YYYY-MM')
            USING ERRCODE = 'restrict_violation', TABLE = 'meter_event';
    END IF;
END $$;

-- Take an archived month's partition out; as a table of its own it refuses every change.
CREATE FUNCTION meter_event_detach_partition(first date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    name text := 'meter_event_' || to_char(first, 'YYYY_MM');
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('meter_event_partition', 0));
    EXECUTE format('ALTER TABLE meter_event DETACH PARTITION %I', name);
    EXECUTE format('CREATE TRIGGER keep_rows BEFORE INSERT OR UPDATE OR DELETE ON %I FOR EACH ROW'
                   ' EXECUTE FUNCTION kernel_refuse_change()', name);
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER keep_rows', name);
END $$;

CREATE FUNCTION meter_event_attach_partition(first date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    name text := 'meter_event_' || to_char(first, 'YYYY_MM');
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('meter_event_partition', 0));
    EXECUTE format('DROP TRIGGER keep_rows ON %I', name);
    EXECUTE format('ALTER TABLE meter_event ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                   name, first::timestamp AT TIME ZONE 'UTC',
                   (first + interval '1 month')::timestamp AT TIME ZONE 'UTC');
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER keep_rows', name);
END $$;

CREATE FUNCTION meter_event_drop_detached(first date) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    name text := 'meter_event_' || to_char(first, 'YYYY_MM');
BEGIN
    IF NOT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass(name) AND NOT relispartition) THEN
        RETURN false;
    END IF;
    EXECUTE format('DROP TABLE %I', name);
    RETURN true;
END $$;

-- Seals of what stays: 60 bits of a row's sha256, summed in any order; instants as microseconds.
CREATE FUNCTION archive_hash(said text) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$
SELECT ('x' || left(encode(sha256(convert_to(said, 'UTF8')), 'hex'), 15))::bit(60)::bigint::numeric
$$;
CREATE FUNCTION archive_micros(moment timestamptz) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
SELECT (extract(epoch FROM moment) * 1000000)::bigint
$$;
