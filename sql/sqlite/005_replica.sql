-- Replicas in this database. `contract` is the owner's, as it came with the rows of an epoch.
-- `passed` is the newest change that was taken in without its contract, as a version: what is
-- older and brings the contract late does not hold that change. `columns` is the mapping of
-- the service file that `backfill` was asked for with.
CREATE TABLE instep_replica (
    id INTEGER PRIMARY KEY,
    table_name TEXT NOT NULL UNIQUE,
    topic TEXT NOT NULL,
    state TEXT NOT NULL,
    problem TEXT NOT NULL DEFAULT '',
    contract TEXT NOT NULL DEFAULT '',
    contract_epoch INTEGER NOT NULL DEFAULT 0,
    passed BLOB NOT NULL DEFAULT x'',
    epoch INTEGER NOT NULL DEFAULT 0,
    backfill TEXT NOT NULL DEFAULT '',
    columns TEXT NOT NULL DEFAULT '',
    filled_rows INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Deleted keys and the version they were deleted at, so that an older event or chunk does
-- not bring them back.
CREATE TABLE instep_tombstone (
    replica INTEGER NOT NULL,
    key TEXT NOT NULL,
    version BLOB NOT NULL,
    removed_us INTEGER NOT NULL,
    PRIMARY KEY (replica, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX instep_tombstone_by_time ON instep_tombstone (removed_us);

-- Verifications and repairs of this database's replicas. `open_scans` are the requests whose
-- answers have not all come; the verification is finished when none is left.
CREATE TABLE instep_verification (
    id TEXT NOT NULL PRIMARY KEY,
    replica INTEGER NOT NULL,
    purpose TEXT NOT NULL,
    problem TEXT NOT NULL DEFAULT '',
    open_scans INTEGER NOT NULL,
    scans_asked INTEGER NOT NULL,
    rows_checked INTEGER NOT NULL DEFAULT 0,
    ranges_checked INTEGER NOT NULL DEFAULT 0,
    as_of TEXT NOT NULL DEFAULT '',
    started_us INTEGER NOT NULL,
    finished_us INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE instep_difference (
    verification TEXT NOT NULL,
    key TEXT NOT NULL,
    kind TEXT NOT NULL,
    repair TEXT NOT NULL DEFAULT '',
    repaired_us INTEGER,
    PRIMARY KEY (verification, key)
) STRICT, WITHOUT ROWID;

-- How far the answers to this database's scans were taken in, by partition of the owner's
-- log. `last`: nothing more comes from there.
CREATE TABLE instep_scan_answer (
    scan TEXT NOT NULL,
    partition INTEGER NOT NULL,
    number INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (scan, partition)
) STRICT, WITHOUT ROWID;

-- Scans that consumers asked this database for, one row a partition of the log: rows for a
-- backfill or a repair, hashes for a verification. The next chunk starts behind `after_key`.
CREATE TABLE instep_scan (
    id TEXT NOT NULL,
    partition INTEGER NOT NULL,
    consumer TEXT NOT NULL,
    entity TEXT NOT NULL,
    kind TEXT NOT NULL,
    request TEXT NOT NULL,
    state TEXT NOT NULL,
    error TEXT NOT NULL DEFAULT '',
    after_key TEXT NOT NULL DEFAULT '',
    rows_sent INTEGER NOT NULL DEFAULT 0,
    chunks_sent INTEGER NOT NULL DEFAULT 0,
    moved_us INTEGER NOT NULL,
    PRIMARY KEY (id, partition)
) STRICT, WITHOUT ROWID;

CREATE INDEX instep_scan_by_state ON instep_scan (partition, state, moved_us);
