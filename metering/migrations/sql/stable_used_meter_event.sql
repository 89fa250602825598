-- As in meter_event.sql, but for `id + 0`: after many adjustments of a moment ago, of which the
-- statistics know nothing yet, PostgreSQL would walk their primary key backwards for every event,
-- through all of them. An event's own adjustments are few, and are found by its id.
CREATE OR REPLACE VIEW used_meter_event AS
SELECT e.id, e.customer_id, e.workspace_id, e.event_name, e.identifier, e."timestamp",
       coalesce(a.properties, e.properties) AS properties, e.received_at, e.batch_id,
       a.type IS NOT NULL AS is_adjusted
FROM meter_event e
LEFT JOIN LATERAL (
    SELECT type, properties FROM meter_event_adjustment WHERE event_id = e.id
    ORDER BY id + 0 DESC LIMIT 1
) a ON true
WHERE a.type IS DISTINCT FROM 'cancel';
