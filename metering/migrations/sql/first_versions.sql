-- Each meter's rule becomes its first version; who made it is known from the audit trail.
INSERT INTO meter_version (meter_id, number, event_name, value_property, filters, dimensions,
                           rounding_mode, rounding_decimals, reason, created_by_id, created_at,
                           withdrawal_reason)
SELECT m.id, 1, m.event_name, m.value_property, m.filters, m.dimensions, 'half_even', 12, '',
       (SELECT a.by_id FROM audit_entry a
        WHERE a.action = 'create_meter' AND a.subject = 'meter:' || m.id ORDER BY a.id LIMIT 1),
       m.created_at, ''
FROM meter m ORDER BY m.id;
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;
