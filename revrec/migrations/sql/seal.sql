-- A seal names the chain's last entry as it stands, and the month is closed.
CREATE FUNCTION ledger_seal_names_head() RETURNS trigger LANGUAGE plpgsql AS $$
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
CREATE TRIGGER names_head BEFORE INSERT ON ledger_seal
    FOR EACH ROW EXECUTE FUNCTION ledger_seal_names_head();
ALTER TABLE ledger_seal ENABLE ALWAYS TRIGGER names_head;
