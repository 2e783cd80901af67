-- What was being tried, noted by a consumer whose predecessor ended in the middle of its work: so
-- many events at once, or, where `event` is not empty, that one alone for the `starts`th time.
CREATE TABLE instep.trial (
    subscription text NOT NULL,
    partition bigint NOT NULL,
    event text NOT NULL,
    events bigint NOT NULL,
    starts bigint NOT NULL,
    started_us bigint NOT NULL,
    PRIMARY KEY (subscription, partition, event)
);

-- An event that was given up by itself stays here with its error, and waits for a person. `bytes`
-- of an envelope are counted towards the subscription's limit.
ALTER TABLE instep.parked_event
    ADD COLUMN skipped_us bigint,
    ADD COLUMN attempts bigint NOT NULL DEFAULT 0,
    ADD COLUMN error_code text NOT NULL DEFAULT '',
    ADD COLUMN error_message text NOT NULL DEFAULT '',
    ADD COLUMN bytes bigint NOT NULL DEFAULT 0;
UPDATE instep.parked_event
    SET bytes = coalesce(octet_length(envelope), octet_length(raw), 0);
CREATE INDEX parked_event_by_size ON instep.parked_event (subscription, skipped_us, bytes);

-- What holds for all members of a subscription: whether it is paused, until when its rate is used
-- up, and a number that rises when people changed what is parked.
CREATE TABLE instep.subscription (
    subscription text NOT NULL PRIMARY KEY,
    paused_us bigint,
    paused_by text NOT NULL DEFAULT '',
    pause_reason text NOT NULL DEFAULT '',
    rate_until_us bigint NOT NULL DEFAULT 0,
    revision bigint NOT NULL DEFAULT 0
);

-- Why the holder of a partition takes no events of it.
CREATE TABLE instep.halt (
    subscription text NOT NULL,
    partition bigint NOT NULL,
    kind text NOT NULL,
    reason text NOT NULL,
    since_us bigint NOT NULL,
    PRIMARY KEY (subscription, partition)
);
