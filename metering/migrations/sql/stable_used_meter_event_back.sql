-- As in meter_event.sql.
CREATE OR REPLACE VIEW used_meter_event AS
SELECT e.id, e.customer_id, e.workspace_id, e.event_name, e.identifier, e."timestamp",
       coalesce(a.properties, e.properties) AS properties, e.received_at, e.batch_id,
       a.type IS NOT NULL AS is_adjusted
FROM meter_event e
LEFT JOIN LATERAL (
    SELECT type, properties FROM meter_event_adjustment WHERE event_id = e.id
    ORDER BY id DESC LIMIT 1
) a ON true
WHERE a.type IS DISTINCT FROM 'cancel';
