CREATE OR REPLACE FUNCTION meter_quantity(value text) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$
SELECT CASE WHEN value ~ '^-?(0|[1-9][0-9]*)(\.[0-9]+)?$' AND length(value) <= 80 THEN
    CASE WHEN value::numeric >= 0 AND value::numeric < 1e24
              AND scale(trim_scale(value::numeric)) <= 12 THEN value::numeric END
END $$;
ALTER TABLE usage_window RESET (fillfactor);
