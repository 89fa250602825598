-- Store single events of known customers and workspaces that nothing speaks against, and say which
-- were new: all that capture asks and writes for them in one round trip. What is not returned was
-- not stored; `capture_events` finds out why. No event at all is taken where capture would ask
-- more: after a meter's version changed, or where late events or better reports need a decision.
CREATE FUNCTION meter_event_store_plain(
    sent jsonb, at timestamptz, version_count bigint, version_sum bigint, mendable text[]
) RETURNS SETOF integer LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT (count(*), coalesce(sum(xmin::text::bigint), 0)::bigint)
               <> (version_count, version_sum) FROM meter_version)
       OR EXISTS (SELECT FROM late_event_policy p JOIN policy_change c ON c.id = p.policy_change_id
                  WHERE p.treatment = 'quarantine' AND c.status = 'approved'
                    AND c.effective_at <= at)
       OR EXISTS (SELECT FROM quarantined_event WHERE state = 'open' AND reason = ANY(mendable))
    THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH plain AS MATERIALIZED (
        SELECT nextval('meter_event_id_seq') AS id, s.n, c.id AS customer_id,
               w.id AS workspace_id, s.event_name, s.identifier, s.moment, s.sha256, s.properties
        FROM jsonb_to_recordset(sent) AS s(
            n integer, api_key_id bigint, customer text, workspace text, event_name text,
            identifier text, moment timestamptz, sha256 text, properties jsonb)
        JOIN api_key k ON k.id = s.api_key_id AND k.revoked_at IS NULL
        JOIN customer c ON c.external_id = s.customer
        LEFT JOIN workspace w ON w.customer_id = c.id AND w.external_id = s.workspace
        WHERE s.workspace = '' OR w.id IS NOT NULL
    ), claimed AS (
        INSERT INTO event_identity AS i
            (customer_id, identifier, content_sha256, event_id, "timestamp")
        SELECT customer_id, identifier, decode(sha256, 'hex'), id, moment FROM plain
        ORDER BY customer_id, identifier COLLATE "C" -- As capture's COPY, against deadlocks.
        ON CONFLICT DO NOTHING
        RETURNING i.event_id
    ), stored AS MATERIALIZED (
        SELECT plain.* FROM plain JOIN claimed ON claimed.event_id = plain.id
    ), batch AS (
        INSERT INTO event_batch AS b (received_at, event_count, first_event_id, last_event_id,
                                      first_timestamp, last_timestamp)
        SELECT at, count(*), min(id), max(id), min(moment), max(moment) FROM stored
        HAVING count(*) > 0
        RETURNING b.id
    ), written AS (
        INSERT INTO meter_event (id, customer_id, workspace_id, event_name, identifier,
                                 "timestamp", properties, received_at, batch_id)
        SELECT s.id, s.customer_id, s.workspace_id, s.event_name, s.identifier, s.moment,
               s.properties, at, b.id
        FROM stored s CROSS JOIN batch b ORDER BY s.id
    )
    SELECT n FROM stored;
END $$;
