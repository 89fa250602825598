-- Entries stand in the chain of the legal entity that bills their customer; who is assigned to none
-- is billed by the main one. Entries of nobody say themselves whose they are.
CREATE FUNCTION journal_entry_of_biller() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    biller bigint;
BEGIN
    IF NEW.customer_id IS NULL THEN
        RETURN NEW;
    END IF;
    SELECT entity_id INTO biller FROM customer_entity WHERE customer_id = NEW.customer_id;
    IF NEW.entity_id <> coalesce(biller, 1) THEN
        RAISE EXCEPTION 'journal entry % is of a customer whom another legal entity bills', NEW.source_key
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER of_biller BEFORE INSERT ON journal_entry
    FOR EACH ROW EXECUTE FUNCTION journal_entry_of_biller();
ALTER TABLE journal_entry ENABLE ALWAYS TRIGGER of_biller;

-- Who has entries in one entity's books is billed by it for good.
CREATE FUNCTION customer_entity_before_books() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM journal_entry
                WHERE customer_id = NEW.customer_id AND entity_id <> NEW.entity_id) THEN
        RAISE EXCEPTION 'customer % has entries in the books of another legal entity', NEW.customer_id
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER before_books BEFORE INSERT ON customer_entity
    FOR EACH ROW EXECUTE FUNCTION customer_entity_before_books();
ALTER TABLE customer_entity ENABLE ALWAYS TRIGGER before_books;

-- A seal names the last entry of every chain as it stands, and the month is closed.
CREATE OR REPLACE FUNCTION ledger_seal_names_head() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    chain record;
    said jsonb;
BEGIN
    FOR chain IN
        SELECT y.id, y.code, coalesce(h.chain_position, 0) AS position, h.entry_sha256 AS sha256
          FROM legal_entity y LEFT JOIN LATERAL (
               SELECT e.chain_position, e.entry_sha256 FROM journal_entry e
                WHERE e.entity_id = y.id ORDER BY e.chain_position DESC LIMIT 1) h ON true
    LOOP
        said := NEW.manifest::jsonb -> 'chains' -> chain.code -> 'head';
        IF (said ->> 'position')::bigint IS DISTINCT FROM chain.position
           OR (chain.position > 0 AND said ->> 'sha256' IS DISTINCT FROM chain.sha256)
           OR (chain.id = 1 AND (NEW.head_position <> chain.position
                                 OR NEW.head_sha256 <> coalesce(chain.sha256, repeat('0', 64)))) THEN
            RAISE EXCEPTION 'a seal names the last entry of the journal of %, at %', chain.code, chain.position
                USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
        END IF;
    END LOOP;
    IF NOT EXISTS (SELECT 1 FROM accounting_period WHERE id = NEW.period_id AND status = 'closed') THEN
        RAISE EXCEPTION 'only a closed month is sealed'
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$;

-- Each export begins where the one before it, of its entity, form, detail and currency, ended.
CREATE OR REPLACE FUNCTION journal_export_follows() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    ended bigint;
BEGIN
    SELECT coalesce(max(last_position), 0) INTO ended FROM journal_export
     WHERE entity_id = NEW.entity_id AND form = NEW.form AND detail = NEW.detail
       AND currency = NEW.currency;
    IF NEW.first_position <> ended + 1 THEN
        RAISE EXCEPTION 'the export before this one ended at %', ended
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    IF NOT EXISTS (SELECT FROM journal_entry
                    WHERE entity_id = NEW.entity_id AND chain_position = NEW.last_position) THEN
        RAISE EXCEPTION 'the journal has no entry at position %', NEW.last_position
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$;
