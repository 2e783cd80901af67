-- The replay that an event last took effect in; 0 when it came for the first time.
ALTER TABLE instep_inbox ADD COLUMN replay INTEGER NOT NULL DEFAULT 0;

-- Past events of one partition that a subscription is to handle again.
CREATE TABLE instep_replay (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    subscription TEXT NOT NULL,
    partition INTEGER NOT NULL,
    start TEXT NOT NULL, -- 'beginning', 'position' or 'time'
    start_at INTEGER NOT NULL,
    key TEXT NOT NULL, -- '' for all
    who TEXT NOT NULL,
    reason TEXT NOT NULL,
    asked_us INTEGER NOT NULL,
    state TEXT NOT NULL, -- 'asked', 'running', 'done' or 'refused'
    broker TEXT NOT NULL DEFAULT '',
    reached INTEGER NOT NULL DEFAULT 0,
    until INTEGER NOT NULL DEFAULT 0,
    moved_us INTEGER NOT NULL,
    problem TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE INDEX instep_replay_open ON instep_replay (subscription) WHERE state IN ('asked', 'running');
