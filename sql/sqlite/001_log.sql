-- The log and its cursors.

CREATE TABLE instep_log_identity (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    incarnation INTEGER NOT NULL,
    epoch INTEGER NOT NULL
) STRICT;

INSERT INTO instep_log_identity VALUES (1, random(), 1);

-- Plain INSERTs into this table, in the writer's own transaction, are a supported way to
-- append: topic, key, type and data are enough. AUTOINCREMENT: a number is never used twice,
-- also not after the newest rows were deleted.
CREATE TABLE instep_log (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    topic TEXT NOT NULL,
    key TEXT NOT NULL,
    type TEXT NOT NULL,
    operation INTEGER NOT NULL DEFAULT 0,
    time_us INTEGER NOT NULL
        DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000.0 + 0.5 AS INTEGER) * 1000),
    id TEXT,
    stream TEXT,
    stream_version INTEGER,
    content_type TEXT,
    schema TEXT,
    correlation_id TEXT,
    causation_id TEXT,
    trace_parent TEXT,
    data ANY NOT NULL
) STRICT;

CREATE UNIQUE INDEX instep_log_by_id ON instep_log (id) WHERE id IS NOT NULL;
CREATE UNIQUE INDEX instep_log_by_stream ON instep_log (stream, stream_version)
    WHERE stream IS NOT NULL;

CREATE TABLE instep_cursor (
    reader TEXT NOT NULL,
    partition INTEGER NOT NULL,
    partitions INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    moved_us INTEGER NOT NULL,
    PRIMARY KEY (reader, partition)
) STRICT, WITHOUT ROWID;

-- What captured changes belong to. A writer may set it in its transaction and must clear it
-- before it commits; triggers copy it into the events.
CREATE TABLE instep_context (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    correlation_id TEXT,
    causation_id TEXT,
    trace_parent TEXT
) STRICT;

INSERT INTO instep_context VALUES (1, NULL, NULL, NULL);
