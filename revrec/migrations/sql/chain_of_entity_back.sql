DROP TRIGGER of_biller ON journal_entry; DROP FUNCTION journal_entry_of_biller;
DROP TRIGGER before_books ON customer_entity; DROP FUNCTION customer_entity_before_books;
CREATE OR REPLACE FUNCTION ledger_seal_names_head() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    head journal_entry%ROWTYPE;
BEGIN
    SELECT * INTO head FROM journal_entry ORDER BY chain_position DESC LIMIT 1;
    IF NEW.head_position <> coalesce(head.chain_position, 0)
       OR NEW.head_sha256 <> coalesce(head.entry_sha256, repeat('0', 64)) THEN
        RAISE EXCEPTION 'a seal names the last entry of the journal, at %', coalesce(head.chain_position, 0)
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    IF NOT EXISTS (SELECT 1 FROM accounting_period WHERE id = NEW.period_id AND status = 'closed') THEN
        RAISE EXCEPTION 'only a closed month is sealed'
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$;
CREATE OR REPLACE FUNCTION journal_export_follows() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    ended bigint;
BEGIN
    SELECT coalesce(max(last_position), 0) INTO ended FROM journal_export
     WHERE form = NEW.form AND detail = NEW.detail AND currency = NEW.currency;
    IF NEW.first_position <> ended + 1 THEN
        RAISE EXCEPTION 'the export before this one ended at %', ended
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    IF NOT EXISTS (SELECT FROM journal_entry WHERE chain_position = NEW.last_position) THEN
        RAISE EXCEPTION 'the journal has no entry at position %', NEW.last_position
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$;
