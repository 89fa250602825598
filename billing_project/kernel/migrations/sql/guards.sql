-- What every table of facts leans on. A guard refuses; it never repairs.

CREATE FUNCTION kernel_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
END $$;

-- Arguments: the columns that may change. Everything else, and DELETE, is refused.
CREATE FUNCTION kernel_refuse_other_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE'
       AND to_jsonb(OLD) - TG_ARGV::text[] = to_jsonb(NEW) - TG_ARGV::text[] THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION '% keeps its facts: % refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
END $$;

-- Arguments: version table, column of the new rows that refers to it.
-- A version governs only after its policy change was approved.
CREATE FUNCTION kernel_require_approved() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    refused bigint;
BEGIN
    EXECUTE format(
        'SELECT count(*) FROM (SELECT DISTINCT %2$I AS id FROM new_rows WHERE %2$I IS NOT NULL) r'
        ' WHERE NOT EXISTS (SELECT 1 FROM %1$I v JOIN policy_change c ON c.id = v.policy_change_id'
        '                   WHERE v.id = r.id AND c.status = ''approved'')',
        TG_ARGV[0], TG_ARGV[1]) INTO refused;
    IF refused > 0 THEN
        RAISE EXCEPTION '% may only use an approved version of %', TG_TABLE_NAME, TG_ARGV[0]
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;

-- Arguments: version table, column of the new row that refers to it.
-- What a version consists of is fixed when it is proposed: parts join only while it is undecided.
-- The lock makes a decision wait for parts that are on their way, and them for a decision.
CREATE FUNCTION kernel_require_proposed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    open boolean;
BEGIN
    EXECUTE format(
        'SELECT c.status = ''proposed'' FROM %I v JOIN policy_change c ON c.id = v.policy_change_id'
        ' WHERE v.id = $1 FOR SHARE OF c', TG_ARGV[0])
        INTO open USING (to_jsonb(NEW) ->> TG_ARGV[1])::bigint;
    IF open IS NOT TRUE THEN
        RAISE EXCEPTION '% takes no parts after the decision on it', TG_ARGV[0]
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$;

-- A decision is made once.
CREATE FUNCTION policy_change_decide_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.status <> 'proposed' THEN
        RAISE EXCEPTION 'policy change % was decided already', OLD.id
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$;
