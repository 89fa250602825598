-- Arguments: the kinds of change that the table's rows are made by. A version joins a change of its
-- own kind, and only while nobody has decided on it: what was approved as something else, or as
-- nothing, lets no rule govern. The lock makes a decision wait for the row, and it for a decision.
CREATE FUNCTION kernel_require_own_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    own boolean;
BEGIN
    SELECT status = 'submitted' AND kind = ANY(TG_ARGV) INTO own
      FROM policy_change WHERE id = NEW.policy_change_id FOR SHARE;
    IF own IS NOT TRUE THEN
        RAISE EXCEPTION '% joins only an undecided change of its own kind', TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$;
