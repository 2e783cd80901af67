-- Capture from the write-ahead log. Positions in it are bytes from its beginning.

-- There while changes of tables come from the write-ahead log. Everything that was committed
-- before `position` is confirmed, and of the transaction that committed at `part_lsn` what
-- stands up to `part_index`. The positions are those of the server that the next three
-- columns name. `unseen`: transactions that were handed out although no snapshot saw them yet.
-- Before `begins`, and from `ends` on if that is set, triggers and snapshots did, or do, the work.
CREATE TABLE instep.wal_cursor (
    reader text PRIMARY KEY,
    slot text NOT NULL,
    system_id bigint NOT NULL,
    timeline bigint NOT NULL,
    database_id bigint NOT NULL,
    begins bigint NOT NULL,
    position bigint NOT NULL,
    part_lsn bigint NOT NULL DEFAULT 0,
    part_index bigint NOT NULL DEFAULT 0,
    unseen text NOT NULL DEFAULT '',
    ends bigint,
    moved_us bigint NOT NULL
) WITH (fillfactor = 50);

-- Readers by snapshot stop there: rows that `last` does not see are read another way.
ALTER TABLE instep.cursor
    ADD COLUMN last pg_snapshot,
    ADD COLUMN last_seq bigint NOT NULL DEFAULT 0,
    ADD COLUMN last_waits text NOT NULL DEFAULT '';
