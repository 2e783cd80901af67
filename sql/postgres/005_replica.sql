-- Replicas in this database. `contract` is the owner's, as it came with the rows of an epoch.
-- `passed` is the newest change that was taken in without its contract, as a version: what is
-- older and brings the contract late does not hold that change. `columns` is the mapping of
-- the service file that `backfill` was asked for with.
CREATE TABLE instep.replica (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    table_name text NOT NULL UNIQUE,
    topic text NOT NULL,
    state text NOT NULL,
    problem text NOT NULL DEFAULT '',
    contract text NOT NULL DEFAULT '',
    contract_epoch bigint NOT NULL DEFAULT 0,
    passed bytea NOT NULL DEFAULT '',
    epoch bigint NOT NULL DEFAULT 0,
    backfill text NOT NULL DEFAULT '',
    columns text NOT NULL DEFAULT '',
    filled_rows bigint NOT NULL DEFAULT 0
);

-- Deleted keys and the version they were deleted at, so that an older event or chunk does
-- not bring them back.
CREATE TABLE instep.tombstone (
    replica bigint NOT NULL,
    key text NOT NULL,
    version bytea NOT NULL,
    removed_us bigint NOT NULL,
    PRIMARY KEY (replica, key)
);

CREATE INDEX tombstone_by_time ON instep.tombstone (removed_us);

-- Verifications and repairs of this database's replicas. `open_scans` are the requests whose
-- answers have not all come; the verification is finished when none is left.
CREATE TABLE instep.verification (
    id text NOT NULL PRIMARY KEY,
    replica bigint NOT NULL,
    purpose text NOT NULL,
    problem text NOT NULL DEFAULT '',
    open_scans bigint NOT NULL,
    scans_asked bigint NOT NULL,
    rows_checked bigint NOT NULL DEFAULT 0,
    ranges_checked bigint NOT NULL DEFAULT 0,
    as_of text NOT NULL DEFAULT '',
    started_us bigint NOT NULL,
    finished_us bigint
);

CREATE TABLE instep.difference (
    verification text NOT NULL,
    key text NOT NULL,
    kind text NOT NULL,
    repair text NOT NULL DEFAULT '',
    repaired_us bigint,
    PRIMARY KEY (verification, key)
);

-- How far the answers to this database's scans were taken in, by partition of the owner's
-- log. `last`: nothing more comes from there.
CREATE TABLE instep.scan_answer (
    scan text NOT NULL,
    partition bigint NOT NULL,
    number bigint NOT NULL,
    last bigint NOT NULL,
    PRIMARY KEY (scan, partition)
);

-- Scans that consumers asked this database for, one row a partition of the log: rows for a
-- backfill or a repair, hashes for a verification. The next chunk starts behind `after_key`.
CREATE TABLE instep.scan (
    id text NOT NULL,
    partition bigint NOT NULL,
    consumer text NOT NULL,
    entity text NOT NULL,
    kind text NOT NULL,
    request text NOT NULL,
    state text NOT NULL,
    error text NOT NULL DEFAULT '',
    after_key text NOT NULL DEFAULT '',
    rows_sent bigint NOT NULL DEFAULT 0,
    chunks_sent bigint NOT NULL DEFAULT 0,
    moved_us bigint NOT NULL,
    PRIMARY KEY (id, partition)
);

CREATE INDEX scan_by_state ON instep.scan (partition, state, moved_us);
