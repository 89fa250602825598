-- A change is approved by everybody who must, on exactly what was submitted, or not at all.

-- What an approver signs: the words, the dates and the content. The same text as `signing.py`.
CREATE FUNCTION policy_change_digest(c policy_change) RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN encode(sha256(convert_to(jsonb_build_array(
        c.kind, c.subject, c.title, c.product_requirement, c.engineering_note, c.reason_code,
        to_char(c.effective_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        coalesce(to_char(c.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), ''),
        c.content)::text, 'UTF8')), 'hex');
END $$;

-- Whether an active person has a function through one of their groups. Being a superuser, or a
-- permission given to one person alone, is no function.
CREATE FUNCTION policy_holds(person bigint, wanted text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (
        SELECT 1 FROM kernel_user u
        JOIN kernel_user_groups ug ON ug.user_id = u.id
        JOIN auth_group_permissions gp ON gp.group_id = ug.group_id
        JOIN auth_permission p ON p.id = gp.permission_id
        JOIN django_content_type t ON t.id = p.content_type_id
        WHERE u.id = person AND u.is_active AND t.app_label = 'kernel' AND p.codename = CASE wanted
            WHEN 'finance' THEN 'approve_policychange'
            WHEN 'legal' THEN 'approve_policychange_legal' END);
END $$;

-- The lock makes two approvers take turns, whoever they come through.
CREATE FUNCTION policy_approval_check() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    c policy_change;
BEGIN
    SELECT * INTO c FROM policy_change WHERE id = NEW.change_id FOR NO KEY UPDATE;
    IF c.status IS DISTINCT FROM 'submitted' THEN
        RAISE EXCEPTION 'policy change % is not open for approval', NEW.change_id
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    IF NEW.by_id = c.proposed_by_id OR NOT c.needs ? NEW.function
       OR NOT policy_holds(NEW.by_id, NEW.function) OR NEW.sha256 <> policy_change_digest(c) THEN
        RAISE EXCEPTION 'person % does not approve policy change % for %',
            NEW.by_id, NEW.change_id, NEW.function
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$;

-- A change begins as a draft or submitted; nothing is born decided.
CREATE FUNCTION policy_change_begin() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.status NOT IN ('draft', 'submitted') THEN
        RAISE EXCEPTION 'a policy change begins undecided'
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$;

-- Drafts may be edited; what is submitted keeps everything but its decision; nothing is deleted.
CREATE FUNCTION policy_change_keep() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    decision text[] := ARRAY['status', 'decided_by_id', 'decided_at', 'decision_reason'];
    is_same boolean;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        is_same := to_jsonb(OLD) - decision = to_jsonb(NEW) - decision;
        IF OLD.status = 'draft' AND NEW.status IN ('draft', 'submitted')
           AND (OLD.id, OLD.kind, OLD.proposed_by_id, OLD.replaces_id)
               IS NOT DISTINCT FROM (NEW.id, NEW.kind, NEW.proposed_by_id, NEW.replaces_id) THEN
            RETURN NEW;
        END IF;
        IF is_same AND (OLD.status, NEW.status) IN (('draft', 'withdrawn'),
            ('submitted', 'approved'), ('submitted', 'rejected'), ('submitted', 'withdrawn')) THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION '% keeps its facts: % refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
END $$;

-- A decision is made once: approved by all who must, rejected by one of them, or withdrawn by its
-- proposer. Who approved must still hold the function when the change is decided.
CREATE OR REPLACE FUNCTION policy_change_decide_once() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wanted int := jsonb_array_length(NEW.needs);
    functions int;
    people int;
    is_last boolean;
BEGIN
    IF OLD.status NOT IN ('draft', 'submitted') THEN
        RAISE EXCEPTION 'policy change % was decided already', OLD.id
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    IF NEW.status = 'approved' THEN
        SELECT count(DISTINCT a.function), count(DISTINCT a.by_id), bool_or(a.by_id = NEW.decided_by_id)
        INTO functions, people, is_last FROM policy_approval a
        WHERE a.change_id = NEW.id AND NEW.needs ? a.function AND a.by_id <> NEW.proposed_by_id
          AND a.sha256 = policy_change_digest(NEW) AND policy_holds(a.by_id, a.function);
        IF functions < wanted OR people < wanted OR is_last IS NOT TRUE THEN
            RAISE EXCEPTION 'policy change % lacks an approval', OLD.id
                USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
        END IF;
    ELSIF NEW.status = 'rejected' AND NOT EXISTS (
        SELECT 1 FROM jsonb_array_elements_text(NEW.needs) f(name)
        WHERE policy_holds(NEW.decided_by_id, f.name)) THEN
        RAISE EXCEPTION 'person % does not decide on policy change %', NEW.decided_by_id, OLD.id
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    ELSIF NEW.status = 'withdrawn' AND NEW.decided_by_id IS DISTINCT FROM NEW.proposed_by_id THEN
        RAISE EXCEPTION 'only its proposer withdraws policy change %', OLD.id
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$;

-- What a version consists of is fixed when it is submitted: see guards.sql.
CREATE OR REPLACE FUNCTION kernel_require_proposed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    open boolean;
BEGIN
    EXECUTE format(
        'SELECT c.status = ''submitted'' FROM %I v JOIN policy_change c ON c.id = v.policy_change_id'
        ' WHERE v.id = $1 FOR SHARE OF c', TG_ARGV[0])
        INTO open USING (to_jsonb(NEW) ->> TG_ARGV[1])::bigint;
    IF open IS NOT TRUE THEN
        RAISE EXCEPTION '% takes no parts after the decision on it', TG_ARGV[0]
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$;
