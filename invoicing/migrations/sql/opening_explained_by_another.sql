-- Who proposed an import does not say why it differs: somebody else does.
CREATE FUNCTION opening_explanation_is_anothers() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM opening_import i JOIN policy_change c ON c.id = i.policy_change_id
         WHERE i.id = NEW.opening_import_id AND c.proposed_by_id = NEW.explained_by_id
    ) THEN
        RAISE EXCEPTION 'who proposed an import of openings explains no difference of it'
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME,
                  CONSTRAINT = 'opening_explanation_is_anothers';
    END IF;
    RETURN NEW;
END $$;
