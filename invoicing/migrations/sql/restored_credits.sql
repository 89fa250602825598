-- A note gives back credits of lines that state them, and of each no more than it states.
CREATE FUNCTION credit_note_line_restores() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    stated invoice_line;
    given numeric;
BEGIN
    IF NEW.restored_credits = 0 THEN
        RETURN NULL;
    END IF;
    SELECT * INTO stated FROM invoice_line WHERE id = NEW.invoice_line_id FOR NO KEY UPDATE;
    SELECT sum(l.restored_credits) INTO given FROM credit_note_line l
     WHERE l.invoice_line_id = stated.id
       AND NOT EXISTS (SELECT FROM credit_note_void v WHERE v.credit_note_id = l.credit_note_id);
    IF stated.kind <> 'credits_used' OR given > stated.quantity THEN
        RAISE EXCEPTION 'notes give back % credits of line %, which states % as %', given, stated.id,
            stated.quantity, stated.kind
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER restores AFTER INSERT ON credit_note_line
    FOR EACH ROW EXECUTE FUNCTION credit_note_line_restores();
ALTER TABLE credit_note_line ENABLE ALWAYS TRIGGER restores;

-- At commit a note gives back as many credits as its lines do.
CREATE FUNCTION credit_note_restores() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    note credit_note;
    lines numeric;
BEGIN
    SELECT * INTO note FROM credit_note WHERE id = (to_jsonb(NEW) ->> TG_ARGV[0])::bigint;
    SELECT coalesce(sum(restored_credits), 0) INTO lines FROM credit_note_line
     WHERE credit_note_id = note.id;
    IF lines <> note.restored_credits THEN
        RAISE EXCEPTION 'credit note % gives back % credits but its lines %', note.number,
            note.restored_credits, lines
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER restores_sum AFTER INSERT ON credit_note
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION credit_note_restores('id');
ALTER TABLE credit_note ENABLE ALWAYS TRIGGER restores_sum;
CREATE CONSTRAINT TRIGGER restores_sum AFTER INSERT ON credit_note_line
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION credit_note_restores('credit_note_id');
ALTER TABLE credit_note_line ENABLE ALWAYS TRIGGER restores_sum;
