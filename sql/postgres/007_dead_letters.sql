-- A key that ran out of attempts waits for a person, who may take single events out of the way.
ALTER TABLE instep.parked_key
    ADD COLUMN dead_us bigint,
    ADD COLUMN failed_us bigint NOT NULL DEFAULT 0;
ALTER TABLE instep.parked_event ADD COLUMN discarded_us bigint;

-- What people did with dead letters, with the event as it was before.
CREATE TABLE instep.dead_letter_action (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    acted_us bigint NOT NULL,
    who text NOT NULL,
    action text NOT NULL,
    reason text NOT NULL,
    subscription text NOT NULL,
    key text NOT NULL,
    event_number bigint,
    envelope text,
    raw bytea
);
