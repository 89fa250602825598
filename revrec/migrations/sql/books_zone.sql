-- The zone of the books is chosen before anything is posted: what was dated by one zone would lie
-- in another's months. A run that posts holds the lock shared until it ends (see held_zone).
CREATE FUNCTION books_zone_refuse_late() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('books_zone', 0));
    IF EXISTS (SELECT FROM journal_entry) THEN
        RAISE EXCEPTION 'the books have entries: their days stay where they began'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER keep_zone_of_books BEFORE UPDATE ON policy_change FOR EACH ROW
WHEN (NEW.kind::text = 'books_zone'::text AND NEW.status::text = 'approved'::text
      AND OLD.status::text <> 'approved'::text)
EXECUTE FUNCTION books_zone_refuse_late();
ALTER TABLE policy_change ENABLE ALWAYS TRIGGER keep_zone_of_books;
