-- What was being tried, noted by a consumer whose predecessor ended in the middle of its work: so
-- many events at once, or, where `event` is not empty, that one alone for the `starts`th time.
CREATE TABLE instep_trial (
    subscription TEXT NOT NULL,
    partition INTEGER NOT NULL,
    event TEXT NOT NULL,
    events INTEGER NOT NULL,
    starts INTEGER NOT NULL,
    started_us INTEGER NOT NULL,
    PRIMARY KEY (subscription, partition, event)
) STRICT, WITHOUT ROWID;

-- An event that was given up by itself stays here with its error, and waits for a person. `bytes`
-- of an envelope are counted towards the subscription's limit.
ALTER TABLE instep_parked_event ADD COLUMN skipped_us INTEGER;
ALTER TABLE instep_parked_event ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;
ALTER TABLE instep_parked_event ADD COLUMN error_code TEXT NOT NULL DEFAULT '';
ALTER TABLE instep_parked_event ADD COLUMN error_message TEXT NOT NULL DEFAULT '';
ALTER TABLE instep_parked_event ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
UPDATE instep_parked_event SET bytes = length(CAST(coalesce(envelope, raw, '') AS BLOB));
CREATE INDEX instep_parked_event_by_size ON instep_parked_event (subscription, skipped_us, bytes);

-- What holds for all members of a subscription: whether it is paused, until when its rate is used
-- up, and a number that rises when people changed what is parked.
CREATE TABLE instep_subscription (
    subscription TEXT NOT NULL PRIMARY KEY,
    paused_us INTEGER,
    paused_by TEXT NOT NULL DEFAULT '',
    pause_reason TEXT NOT NULL DEFAULT '',
    rate_until_us INTEGER NOT NULL DEFAULT 0,
    revision INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- Why the holder of a partition takes no events of it.
CREATE TABLE instep_halt (
    subscription TEXT NOT NULL,
    partition INTEGER NOT NULL,
    kind TEXT NOT NULL,
    reason TEXT NOT NULL,
    since_us INTEGER NOT NULL,
    PRIMARY KEY (subscription, partition)
) STRICT, WITHOUT ROWID;
