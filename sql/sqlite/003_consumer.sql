-- How far each subscription has got, and its totals.
CREATE TABLE instep_progress (
    subscription TEXT NOT NULL,
    partition INTEGER NOT NULL,
    position INTEGER NOT NULL,
    applied INTEGER NOT NULL DEFAULT 0,
    duplicates_ignored INTEGER NOT NULL DEFAULT 0,
    stale_ignored INTEGER NOT NULL DEFAULT 0,
    not_addressed INTEGER NOT NULL DEFAULT 0,
    discarded INTEGER NOT NULL DEFAULT 0,
    moved_us INTEGER NOT NULL,
    PRIMARY KEY (subscription, partition)
) STRICT, WITHOUT ROWID;

-- Events that have taken effect through handlers.
CREATE TABLE instep_inbox (
    subscription TEXT NOT NULL,
    source TEXT NOT NULL,
    event_id TEXT NOT NULL,
    handled_us INTEGER NOT NULL,
    PRIMARY KEY (subscription, source, event_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX instep_inbox_by_time ON instep_inbox (handled_us);

-- Keys set aside after a failure, with the events behind them in order.
CREATE TABLE instep_parked_key (
    subscription TEXT NOT NULL,
    key TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    next_try_us INTEGER NOT NULL,
    error_code TEXT NOT NULL,
    error_message TEXT NOT NULL,
    parked_us INTEGER NOT NULL,
    PRIMARY KEY (subscription, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX instep_parked_key_by_time ON instep_parked_key (subscription, next_try_us);

CREATE TABLE instep_parked_event (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    subscription TEXT NOT NULL,
    key TEXT NOT NULL,
    partition INTEGER NOT NULL,
    position INTEGER NOT NULL,
    envelope TEXT,
    raw BLOB,
    parked_us INTEGER NOT NULL
) STRICT;

CREATE INDEX instep_parked_event_by_key ON instep_parked_event (subscription, key, number);
