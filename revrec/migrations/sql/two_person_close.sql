-- A month closes by two people, in two steps, and entries join it until then.
CREATE OR REPLACE FUNCTION journal_entry_open_period() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    period accounting_period%ROWTYPE;
BEGIN
    SELECT * INTO period FROM accounting_period WHERE id = NEW.period_id FOR SHARE;
    IF period.status = 'closed' THEN
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

CREATE OR REPLACE FUNCTION accounting_period_close_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.status = 'closed' THEN
        RAISE EXCEPTION 'accounting period % is closed for good', OLD.start_on
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    IF OLD.status = 'soft' AND NEW.status = 'open' THEN
        RAISE EXCEPTION 'the close of accounting period % is proposed', OLD.start_on
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    IF NEW.status = 'closed' AND (OLD.status <> 'soft' OR OLD.soft_closed_by_id IS NULL
        OR NEW.soft_closed_by_id <> OLD.soft_closed_by_id
        OR NEW.closed_by_id IS NOT DISTINCT FROM OLD.soft_closed_by_id) THEN
        RAISE EXCEPTION 'accounting period % is closed by somebody else than who proposed it',
            OLD.start_on USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    IF NEW.status = 'closed' AND EXISTS (
        SELECT 1 FROM accounting_period WHERE status <> 'closed' AND start_on < NEW.start_on) THEN
        RAISE EXCEPTION 'accounting period % follows one that is open', NEW.start_on
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$;
