-- A market is opened for the entity that sells there; one that names none is the main entity's.
CREATE OR REPLACE FUNCTION invoice_need_open_market() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.status = 'draft' AND NEW.status <> 'draft' AND NOT EXISTS (
        SELECT FROM customer k
          JOIN market_gate g ON g.country = k.country AND g.currency = NEW.currency
                            AND coalesce(g.entity_id, 1) = NEW.entity_id
          JOIN policy_change c ON c.id = g.policy_change_id
         WHERE k.id = NEW.customer_id AND c.status = 'approved'
           AND c.effective_at <= NEW.finalized_at
           AND (c.expires_at IS NULL OR c.expires_at > NEW.finalized_at)) THEN
        RAISE EXCEPTION 'the market of invoice % in % is not open', NEW.id, NEW.currency
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$;
