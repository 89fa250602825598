-- What an open row waits for: the same for all rows that one act would mend.
CREATE FUNCTION quarantine_missing(reason text, event_name text, detail text, customer text)
RETURNS text LANGUAGE sql IMMUTABLE AS $$
SELECT CASE reason WHEN 'unknown_event_name' THEN event_name
                   WHEN 'missing_value' THEN left(detail, 400)
                   ELSE customer END
$$;

-- Who answers for a reason unless somebody was named.
CREATE FUNCTION quarantine_role(reason text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
SELECT CASE reason WHEN 'unknown_customer' THEN 'support'
                   WHEN 'period_closed' THEN 'finance_maker'
                   ELSE 'engineering' END
$$;

CREATE INDEX quarantined_event_open_group ON quarantined_event
    (reason, quarantine_missing(reason, event_name, detail, customer_external_id), id)
    WHERE state = 'open';

CREATE VIEW quarantine_group AS
SELECT hashtextextended(g.reason || ':' || g.missing, 0) & 9223372036854775807 AS id,
       g.reason, g.missing, g.event_count, g.customer_count, g.event_name_count,
       g.first_seen_at, g.last_seen_at, g.sample_id,
       coalesce(a.role, quarantine_role(g.reason)) AS role, a.person_id
FROM (
    SELECT reason,
           quarantine_missing(reason, event_name, detail, customer_external_id) AS missing,
           count(*) AS event_count,
           count(DISTINCT customer_external_id) AS customer_count,
           count(DISTINCT event_name) AS event_name_count,
           min(received_at) AS first_seen_at, max(received_at) AS last_seen_at,
           max(id) AS sample_id
    FROM quarantined_event WHERE state = 'open' GROUP BY 1, 2
) g
LEFT JOIN LATERAL (
    SELECT role, person_id FROM quarantine_assignment
    WHERE reason = g.reason AND missing = g.missing ORDER BY id DESC LIMIT 1
) a ON true;
