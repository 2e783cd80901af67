-- The log and its cursors.

-- `system_id`, `database_id` and `log_id` tell the place that the log was made in: where they
-- differ from the place it is in now, it was restored from a dump, and transaction ids mean
-- nothing any more.
CREATE TABLE instep.log_identity (
    only_row integer PRIMARY KEY CHECK (only_row = 1),
    incarnation bigint NOT NULL,
    epoch bigint NOT NULL,
    system_id bigint NOT NULL,
    database_id bigint NOT NULL,
    log_id bigint NOT NULL
);

-- No cache: numbers must rise over all sessions. The first is drawn here, so that what the
-- sequence says of itself is always a number that was drawn.
CREATE SEQUENCE instep.log_seq AS bigint MINVALUE 0 CACHE 1;
SELECT nextval('instep.log_seq');

-- Rows are never updated. `xid` stands before `seq`, so that the number is drawn by a
-- transaction that has its id: readers rely on it. Events of streams are kept; the others pass,
-- and go with their partition. One of `data` and `bytes` is set, and `kept` says that there is a
-- stream; no constraint checks it, since every captured change would pay for it.
CREATE TABLE instep.log (
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    seq bigint NOT NULL DEFAULT nextval('instep.log_seq'),
    time_us bigint NOT NULL
        DEFAULT (date_part('epoch', clock_timestamp()) * 1000000)::bigint,
    stream_version bigint,
    operation smallint NOT NULL DEFAULT 0,
    kept boolean NOT NULL DEFAULT false,
    topic text NOT NULL,
    key text NOT NULL,
    type text NOT NULL,
    id text,
    stream text,
    content_type text,
    schema text,
    correlation_id text,
    causation_id text,
    trace_parent text,
    data text,
    bytes bytea,
    PRIMARY KEY (seq, kept)
) PARTITION BY LIST (kept);

CREATE TABLE instep.log_kept PARTITION OF instep.log FOR VALUES IN (true);
CREATE UNIQUE INDEX log_kept_by_stream ON instep.log_kept (stream, stream_version);

-- Upkeep makes partitions ahead and drops those that everybody has read. What it was too late
-- for goes to the default one.
CREATE TABLE instep.log_passing PARTITION OF instep.log FOR VALUES IN (false)
    PARTITION BY RANGE (seq);
CREATE TABLE instep.log_passing_default PARTITION OF instep.log_passing DEFAULT;
CREATE TABLE instep.log_passing_1 PARTITION OF instep.log_passing
    FOR VALUES FROM (MINVALUE) TO (1000001);

-- The newest version of each stream. Its row is locked while a number is drawn for the stream.
CREATE TABLE instep.stream (
    name text PRIMARY KEY,
    version bigint NOT NULL
);

-- Ids that were given with an event, so that none is appended twice.
CREATE TABLE instep.event_id (
    id text PRIMARY KEY,
    seq bigint,
    stream_version bigint,
    time_us bigint NOT NULL
);
CREATE INDEX event_id_by_time ON instep.event_id (time_us);

-- Everything that `base` sees was read. `base_waits` are the transactions that it does not see
-- but knows, each with a number that all of its rows are above ("xid:seq", comma-separated);
-- those it does not know have rows above `base_seq` only. The same for `open`, the batch that
-- is being read; its rows up to `after_seq` are confirmed, and `after_index` of this
-- partition's. No row that any of the two sees has a number above `open_end`. `restored_end`:
-- rows up to there came with a dump or after it, and were read if `base` sees them and
-- `open_end`, which is then older, is not below them.
CREATE TABLE instep.cursor (
    reader text NOT NULL,
    partition bigint NOT NULL,
    partitions bigint NOT NULL,
    batch bigint NOT NULL DEFAULT 0,
    base pg_snapshot NOT NULL,
    base_seq bigint NOT NULL,
    base_waits text NOT NULL DEFAULT '',
    open pg_snapshot,
    open_seq bigint NOT NULL DEFAULT 0,
    open_waits text NOT NULL DEFAULT '',
    open_end bigint NOT NULL DEFAULT 0,
    after_seq bigint NOT NULL DEFAULT 0,
    after_index bigint NOT NULL DEFAULT 0,
    restored_end bigint,
    moved_us bigint NOT NULL,
    PRIMARY KEY (reader, partition)
) WITH (fillfactor = 50);

INSERT INTO instep.log_identity
SELECT 1, ('x' || substr(md5(gen_random_uuid()::text), 1, 16))::bit(64)::bigint, 1,
    (SELECT system_identifier FROM pg_control_system()),
    (SELECT oid::bigint FROM pg_database WHERE datname = current_database()),
    'instep.log'::regclass::oid::bigint;

-- Appends an event within the caller's transaction and returns its number. For any language:
--   SELECT instep.append('iam.user', '42', 'user.invited', '{"by": 7}');
-- What a request belongs to is taken from the settings instep.correlation_id,
-- instep.causation_id and instep.trace_parent where they are set (SET LOCAL).
CREATE FUNCTION instep.append(topic text, key text, type text, data text, id text DEFAULT NULL,
    stream text DEFAULT NULL, expected_version bigint DEFAULT NULL, schema text DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $append$
DECLARE
    appended bigint;
    version bigint;
BEGIN
    IF append.topic = '' OR append.key = '' OR append.type = '' THEN
        RAISE EXCEPTION 'instep.append: topic, key and type must not be empty';
    END IF;
    IF octet_length(append.data) > 8388608 THEN
        RAISE EXCEPTION 'instep.append: % bytes of data, more than the 8388608 allowed',
            octet_length(append.data) USING ERRCODE = 'program_limit_exceeded';
    END IF;
    IF append.id IS NOT NULL THEN
        INSERT INTO instep.event_id AS e (id, time_us)
        VALUES (append.id, (date_part('epoch', clock_timestamp()) * 1000000)::bigint)
        ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            RETURN (SELECT e.seq FROM instep.event_id AS e WHERE e.id = append.id);
        END IF;
    END IF;
    IF append.stream IS NOT NULL THEN
        INSERT INTO instep.stream AS s (name, version) VALUES (append.stream, 1)
        ON CONFLICT (name) DO UPDATE SET version = s.version + 1
        RETURNING s.version INTO version;
        IF append.expected_version IS NOT NULL AND version <> append.expected_version + 1 THEN
            RAISE EXCEPTION 'instep.append: stream % is at version %, not %', append.stream,
                version - 1, append.expected_version USING ERRCODE = 'serialization_failure';
        END IF;
    END IF;
    INSERT INTO instep.log AS l (topic, key, type, id, stream, stream_version, kept, schema,
        correlation_id, causation_id, trace_parent, data)
    VALUES (append.topic, append.key, append.type, append.id, append.stream, version,
        append.stream IS NOT NULL, append.schema,
        nullif(current_setting('instep.correlation_id', true), ''),
        nullif(current_setting('instep.causation_id', true), ''),
        nullif(current_setting('instep.trace_parent', true), ''), append.data)
    RETURNING l.seq INTO appended;
    IF append.id IS NOT NULL THEN
        UPDATE instep.event_id AS e SET seq = appended, stream_version = version
        WHERE e.id = append.id;
    END IF;
    RETURN appended;
END
$append$;

REVOKE ALL ON FUNCTION instep.append FROM PUBLIC;
