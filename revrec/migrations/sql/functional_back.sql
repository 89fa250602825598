-- Entries as they were in their own currency alone.
CREATE OR REPLACE FUNCTION journal_entry_balanced() RETURNS trigger LANGUAGE plpgsql
    SET search_path FROM CURRENT AS $$
DECLARE
    found bigint;
    unbalanced text;
BEGIN
    SELECT count(*) INTO found FROM posting WHERE entry_id = NEW.id;
    IF found <> NEW.posting_count OR found < 2 THEN
        RAISE EXCEPTION 'journal entry % declares % postings and has %', NEW.source_key, NEW.posting_count, found
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    SELECT string_agg(currency, ', ') INTO unbalanced FROM (
        SELECT currency FROM posting WHERE entry_id = NEW.id
         GROUP BY currency HAVING sum(amount_minor) <> 0) u;
    IF unbalanced IS NOT NULL THEN
        RAISE EXCEPTION 'journal entry % does not balance in %', NEW.source_key, unbalanced
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;
