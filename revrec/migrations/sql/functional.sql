-- An entry balances in the currency that it is in, and in that of its entity's books: all of its
-- postings are worth something there, or none is said to be.
CREATE OR REPLACE FUNCTION journal_entry_balanced() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    found bigint;
    translated bigint;
    unbalanced text;
BEGIN
    SELECT count(*), count(functional_currency) INTO found, translated
      FROM posting WHERE entry_id = NEW.id;
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
    IF translated > 0 THEN
        IF translated <> found THEN
            RAISE EXCEPTION 'journal entry % says of % postings in % what they are worth', NEW.source_key, translated, found
                USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
        END IF;
        SELECT string_agg(functional_currency, ', ') INTO unbalanced FROM (
            SELECT functional_currency FROM posting WHERE entry_id = NEW.id
             GROUP BY functional_currency HAVING sum(functional_minor) <> 0) u;
        IF unbalanced IS NOT NULL OR (SELECT count(DISTINCT functional_currency) FROM posting
                                       WHERE entry_id = NEW.id) <> 1 THEN
            RAISE EXCEPTION 'journal entry % does not balance in the currency of its books', NEW.source_key
                USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
        END IF;
    END IF;
    RETURN NULL;
END $$;
