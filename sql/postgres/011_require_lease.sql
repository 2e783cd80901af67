-- Fails unless the owner holds the lease in that epoch, which then stays so until the transaction
-- ends. A statement that fails by itself can travel with the next one; an answer that has to be
-- looked at costs a round trip.
CREATE FUNCTION instep.require_lease(name text, owner text, epoch bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $require$
DECLARE
    holder text;
    reign bigint;
BEGIN
    SELECT l.owner, l.epoch INTO holder, reign FROM instep.lease AS l
    WHERE l.name = require_lease.name FOR SHARE;
    IF (holder, reign) IS DISTINCT FROM (require_lease.owner, require_lease.epoch) THEN
        RAISE EXCEPTION '% lost the lease %', require_lease.owner, require_lease.name
            USING ERRCODE = 'INS01';
    END IF;
END $require$;
