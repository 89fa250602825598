-- The general ledger's guards: balanced at commit, in an open period, written in one transaction.

-- Under the period's share lock: a close that runs at the same time waits, or is waited for.
CREATE FUNCTION journal_entry_open_period() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    period accounting_period%ROWTYPE;
BEGIN
    SELECT * INTO period FROM accounting_period WHERE id = NEW.period_id FOR SHARE;
    IF period.status <> 'open' THEN
        RAISE EXCEPTION 'accounting period % is closed', period.start_on
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    IF NEW.effective_on < period.start_on OR NEW.effective_on >= period.end_on THEN
        RAISE EXCEPTION '% lies outside accounting period %', NEW.effective_on, period.start_on
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    NEW.created_xid := pg_current_xact_id()::text::bigint;
    RETURN NEW;
END $$;
CREATE TRIGGER open_period BEFORE INSERT ON journal_entry
    FOR EACH ROW EXECUTE FUNCTION journal_entry_open_period();
ALTER TABLE journal_entry ENABLE ALWAYS TRIGGER open_period;

-- Postings join their entry in the transaction that wrote it. (xmin would name Django's savepoint.)
CREATE FUNCTION posting_with_entry() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    strangers bigint;
BEGIN
    SELECT count(*) INTO strangers FROM new_rows r JOIN journal_entry e ON e.id = r.entry_id
     WHERE e.created_xid <> pg_current_xact_id()::text::bigint;
    IF strangers > 0 THEN
        RAISE EXCEPTION 'postings join their entry in its own transaction only'
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER with_entry AFTER INSERT ON posting REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION posting_with_entry();
ALTER TABLE posting ENABLE ALWAYS TRIGGER with_entry;

CREATE FUNCTION journal_entry_balanced() RETURNS trigger LANGUAGE plpgsql AS $$
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
CREATE CONSTRAINT TRIGGER balanced AFTER INSERT ON journal_entry
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION journal_entry_balanced();
ALTER TABLE journal_entry ENABLE ALWAYS TRIGGER balanced;

-- A close is final, and months close in their order.
CREATE FUNCTION accounting_period_close_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.status = 'closed' THEN
        RAISE EXCEPTION 'accounting period % is closed for good', OLD.start_on
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    IF NEW.status = 'closed' AND EXISTS (
        SELECT 1 FROM accounting_period WHERE status = 'open' AND start_on < NEW.start_on) THEN
        RAISE EXCEPTION 'accounting period % follows one that is open', NEW.start_on
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER close_once BEFORE UPDATE ON accounting_period
    FOR EACH ROW EXECUTE FUNCTION accounting_period_close_once();
ALTER TABLE accounting_period ENABLE ALWAYS TRIGGER close_once;

-- What a closed period carried forward stays as it was: no period is opened before it.
CREATE FUNCTION accounting_period_open_in_order() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.status <> 'open' OR EXISTS (
        SELECT 1 FROM accounting_period WHERE status = 'closed' AND end_on > NEW.start_on) THEN
        RAISE EXCEPTION 'accounting period % cannot open before a closed one', NEW.start_on
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER open_in_order BEFORE INSERT ON accounting_period
    FOR EACH ROW EXECUTE FUNCTION accounting_period_open_in_order();
ALTER TABLE accounting_period ENABLE ALWAYS TRIGGER open_in_order;
