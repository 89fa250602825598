-- All that capture asks and writes before it copies a batch of plain events, in one round trip: is
-- the key live, who are the customers, does anything speak against the batch; its row and the ids
-- of its events. Where anything does, nothing is written and `batch_id` is NULL.
CREATE FUNCTION meter_event_open_plain_batch(
    key_id bigint, names text[], event_count integer, first_at timestamptz, last_at timestamptz,
    at timestamptz, version_count bigint, version_sum bigint, mendable text[],
    OUT batch_id bigint, OUT event_ids bigint[], OUT customer_ids bigint[]
) RETURNS record LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM api_key k WHERE k.id = key_id AND k.revoked_at IS NULL)
       OR (SELECT (count(*), coalesce(sum(xmin::text::bigint), 0)::bigint)
                  <> (version_count, version_sum) FROM meter_version)
       OR EXISTS (SELECT FROM late_event_policy p JOIN policy_change c ON c.id = p.policy_change_id
                  WHERE p.treatment = 'quarantine' AND c.status = 'approved'
                    AND c.effective_at <= at)
       OR EXISTS (SELECT FROM quarantined_event WHERE state = 'open' AND reason = ANY(mendable))
    THEN
        RETURN;
    END IF;
    customer_ids := ARRAY(
        SELECT coalesce(
            (SELECT c.id FROM customer c WHERE c.external_id = n.name),
            (SELECT a.customer_id FROM customer_alias a WHERE a.external_id = n.name))
        FROM unnest(names) WITH ORDINALITY AS n(name, place) ORDER BY n.place);
    IF array_position(customer_ids, NULL) IS NOT NULL THEN
        RETURN;
    END IF;
    event_ids := ARRAY(
        SELECT nextval('meter_event_id_seq') FROM generate_series(1, event_count));
    INSERT INTO event_batch (received_at, event_count, first_event_id, last_event_id,
                             first_timestamp, last_timestamp)
    VALUES (at, event_count, event_ids[1], event_ids[event_count], first_at, last_at)
    RETURNING id INTO batch_id;
END $$;
