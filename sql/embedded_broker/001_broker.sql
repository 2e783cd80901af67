-- One partition of one topic. 23 bits for the id, so that a message's position fits a row id.
CREATE TABLE instep_slot (
    id INTEGER PRIMARY KEY CHECK (id BETWEEN 1 AND 8388607),
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    next_offset INTEGER NOT NULL DEFAULT 1,
    UNIQUE (topic, partition)
) STRICT;

-- position = slot << 40 | offset: a slot is one contiguous range of this table, and its
-- offsets have no gaps. What stands before `data` is readable without overflow pages.
CREATE TABLE instep_message (
    position INTEGER PRIMARY KEY,
    published_us INTEGER NOT NULL,
    id TEXT NOT NULL,
    source TEXT NOT NULL,
    type TEXT NOT NULL,
    key TEXT NOT NULL,
    time_us INTEGER NOT NULL,
    version BLOB NOT NULL,
    incarnation INTEGER NOT NULL,
    operation INTEGER NOT NULL,
    stream TEXT NOT NULL,
    stream_version INTEGER NOT NULL,
    content_type TEXT NOT NULL, -- '' is application/json
    schema TEXT NOT NULL,
    correlation_id TEXT NOT NULL,
    causation_id TEXT NOT NULL,
    trace_parent TEXT NOT NULL,
    extensions TEXT, -- a JSON object of strings
    data BLOB NOT NULL
) STRICT;

-- The last that each source published to a slot, and the highest epoch it did so with.
CREATE TABLE instep_publisher (
    slot INTEGER NOT NULL,
    source TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,
    version BLOB NOT NULL,
    PRIMARY KEY (slot, source)
) STRICT, WITHOUT ROWID;

-- `generation` rises when its members should look at how the slots are shared.
CREATE TABLE instep_subscription (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    topic TEXT NOT NULL,
    generation INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX instep_subscription_by_topic ON instep_subscription (topic);

CREATE TABLE instep_member (
    subscription INTEGER NOT NULL,
    name TEXT NOT NULL,
    until_us INTEGER NOT NULL,
    PRIMARY KEY (subscription, name)
) STRICT, WITHOUT ROWID;

-- How far a subscription has got in a slot, and the member that holds it: for as long as
-- that member lives, under this epoch.
CREATE TABLE instep_subscription_slot (
    slot INTEGER NOT NULL,
    subscription INTEGER NOT NULL,
    acknowledged INTEGER NOT NULL,
    holder TEXT,
    epoch INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (slot, subscription)
) STRICT, WITHOUT ROWID;
