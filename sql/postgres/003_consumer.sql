-- How far each subscription has got, and its totals.
CREATE TABLE instep.progress (
    subscription text NOT NULL,
    partition bigint NOT NULL,
    position bigint NOT NULL,
    applied bigint NOT NULL DEFAULT 0,
    duplicates_ignored bigint NOT NULL DEFAULT 0,
    stale_ignored bigint NOT NULL DEFAULT 0,
    not_addressed bigint NOT NULL DEFAULT 0,
    discarded bigint NOT NULL DEFAULT 0,
    moved_us bigint NOT NULL,
    PRIMARY KEY (subscription, partition)
);

-- Events that have taken effect through handlers.
CREATE TABLE instep.inbox (
    subscription text NOT NULL,
    source text NOT NULL,
    event_id text NOT NULL,
    handled_us bigint NOT NULL,
    PRIMARY KEY (subscription, source, event_id)
);

CREATE INDEX inbox_by_time ON instep.inbox (handled_us);

-- Keys set aside after a failure, with the events behind them in order.
CREATE TABLE instep.parked_key (
    subscription text NOT NULL,
    key text NOT NULL,
    attempts bigint NOT NULL,
    next_try_us bigint NOT NULL,
    error_code text NOT NULL,
    error_message text NOT NULL,
    parked_us bigint NOT NULL,
    PRIMARY KEY (subscription, key)
);

CREATE INDEX parked_key_by_time ON instep.parked_key (subscription, next_try_us);

CREATE TABLE instep.parked_event (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subscription text NOT NULL,
    key text NOT NULL,
    partition bigint NOT NULL,
    position bigint NOT NULL,
    envelope text,
    raw bytea,
    parked_us bigint NOT NULL
);

CREATE INDEX parked_event_by_key ON instep.parked_event (subscription, key, number);
