-- An export begins where the one before it ended, and covers entries that stand in the journal.
CREATE FUNCTION journal_export_follows() RETURNS trigger LANGUAGE plpgsql AS $$
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
CREATE TRIGGER follows BEFORE INSERT ON journal_export
    FOR EACH ROW EXECUTE FUNCTION journal_export_follows();
ALTER TABLE journal_export ENABLE ALWAYS TRIGGER follows;
