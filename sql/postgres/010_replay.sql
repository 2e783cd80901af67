-- The replay that an event last took effect in; 0 when it came for the first time.
ALTER TABLE instep.inbox ADD COLUMN replay bigint NOT NULL DEFAULT 0;

-- Past events of one partition that a subscription is to handle again.
CREATE TABLE instep.replay (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subscription text NOT NULL,
    partition bigint NOT NULL,
    start text NOT NULL, -- 'beginning', 'position' or 'time'
    start_at bigint NOT NULL,
    key text NOT NULL, -- '' for all
    who text NOT NULL,
    reason text NOT NULL,
    asked_us bigint NOT NULL,
    state text NOT NULL, -- 'asked', 'running', 'done' or 'refused'
    broker text NOT NULL DEFAULT '',
    reached bigint NOT NULL DEFAULT 0,
    until bigint NOT NULL DEFAULT 0,
    moved_us bigint NOT NULL,
    problem text NOT NULL DEFAULT ''
);

CREATE INDEX replay_open ON instep.replay (subscription) WHERE state IN ('asked', 'running');
