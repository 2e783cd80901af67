-- Readers that sleep are told of appends, and nobody is told while none sleeps: a commit that tells
-- waits for every other one that does.
--
-- A reader that is about to sleep takes an advisory lock, which it gets only while nobody has
-- appended and not yet committed, and looks at the log once more. Who appends tries to share the
-- lock until the transaction ends; where that fails, somebody sleeps.
CREATE FUNCTION instep.may_sleep() RETURNS boolean
LANGUAGE sql AS 'SELECT pg_catalog.pg_try_advisory_lock(1768846196, 1)';

CREATE FUNCTION instep.wake_up() RETURNS void
LANGUAGE sql AS 'SELECT pg_catalog.pg_advisory_unlock_all()';

-- Runs with every statement that appends: no operator that a search path could replace, and no
-- setting, which would cost more than the rest.
CREATE FUNCTION instep.tell_of_append() RETURNS trigger
LANGUAGE plpgsql AS $tell$
BEGIN
    IF NOT pg_catalog.pg_try_advisory_xact_lock_shared(1768846196, 1) THEN
        PERFORM pg_catalog.pg_notify('instep_appends', '');
    END IF;
    RETURN NULL;
END $tell$;

-- A statement fires the trigger of the table that it names: capture names the second.
CREATE TRIGGER tell_of_append AFTER INSERT ON instep.log
FOR EACH STATEMENT EXECUTE FUNCTION instep.tell_of_append();
CREATE TRIGGER tell_of_append AFTER INSERT ON instep.log_passing
FOR EACH STATEMENT EXECUTE FUNCTION instep.tell_of_append();
