-- Nothing is issued into a market that finance did not open: the checklist of the customer's country
-- and the invoice's currency is approved and in force. For the rest see the issued invoice's states.
CREATE FUNCTION invoice_need_open_market() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM customer k
          JOIN market_gate g ON g.country = k.country AND g.currency = NEW.currency
          JOIN policy_change c ON c.id = g.policy_change_id
         WHERE k.id = NEW.customer_id AND c.status = 'approved'
           AND c.effective_at <= NEW.finalized_at
           AND (c.expires_at IS NULL OR c.expires_at > NEW.finalized_at)) THEN
        RAISE EXCEPTION 'the market of invoice % in % is not open', NEW.id, NEW.currency
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER need_open_market BEFORE UPDATE ON invoice
    FOR EACH ROW WHEN (OLD.status = 'draft' AND NEW.status <> 'draft')
    EXECUTE FUNCTION invoice_need_open_market();
ALTER TABLE invoice ENABLE ALWAYS TRIGGER need_open_market;

-- Of an issued invoice's lines moves only what notes took off, net and tax.
CREATE OR REPLACE FUNCTION invoice_line_keep_issued() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    state text;
    moving text[] := ARRAY['credited_minor', 'tax_credited_minor'];
BEGIN
    SELECT status INTO state FROM invoice
     WHERE id = CASE TG_OP WHEN 'DELETE' THEN OLD.invoice_id ELSE NEW.invoice_id END
       FOR SHARE;
    IF state = 'draft' AND (TG_OP <> 'UPDATE' OR OLD.invoice_id = NEW.invoice_id) THEN
        RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
    END IF;
    IF TG_OP = 'UPDATE' AND pg_trigger_depth() >= 2
       AND to_jsonb(OLD) - moving = to_jsonb(NEW) - moving THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'lines of an issued invoice are frozen: % refused', TG_OP
        USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
END $$;

CREATE OR REPLACE FUNCTION invoice_line_follow_credit_note() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed bigint;
BEGIN
    UPDATE invoice_line l SET credited_minor = l.credited_minor + NEW.amount_minor,
           tax_credited_minor = l.tax_credited_minor + NEW.tax_minor
      FROM credit_note n
     WHERE n.id = NEW.credit_note_id AND l.id = NEW.invoice_line_id AND l.invoice_id = n.invoice_id;
    GET DIAGNOSTICS changed = ROW_COUNT;
    IF changed <> 1 THEN
        RAISE EXCEPTION 'a credit note takes off lines of its own invoice only'
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    IF NEW.evened_minor > 0
       AND NOT EXISTS (SELECT FROM invoice_line WHERE id = NEW.invoice_line_id AND kind = 'overage')
    THEN
        RAISE EXCEPTION 'a credit note evens out overage only'
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;

-- At commit a note's lines sum to the note with their tax, whichever of them came.
CREATE OR REPLACE FUNCTION credit_note_lines_sum() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    note credit_note;
    lines bigint;
    tax bigint;
BEGIN
    SELECT * INTO note FROM credit_note WHERE id = (to_jsonb(NEW) ->> TG_ARGV[0])::bigint;
    SELECT coalesce(sum(amount_minor + tax_minor), 0), coalesce(sum(tax_minor), 0) INTO lines, tax
      FROM credit_note_line WHERE credit_note_id = note.id;
    IF lines <> note.total_minor OR tax <> note.tax_minor THEN
        RAISE EXCEPTION 'credit note % totals % but its lines sum to %', note.number, note.total_minor, lines
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;

-- At commit an issued invoice's lines sum to its total with their tax.
CREATE OR REPLACE FUNCTION invoice_lines_sum() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    lines bigint;
    tax bigint;
BEGIN
    IF NEW.status = 'draft' THEN
        RETURN NULL;
    END IF;
    SELECT coalesce(sum(amount_minor + tax_minor), 0), coalesce(sum(tax_minor), 0) INTO lines, tax
      FROM invoice_line WHERE invoice_id = NEW.id;
    IF lines <> NEW.total_minor OR tax <> NEW.tax_minor THEN
        RAISE EXCEPTION 'invoice % totals % but its lines sum to %', NEW.number, NEW.total_minor, lines
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;
