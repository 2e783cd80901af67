-- A key that ran out of attempts waits for a person, who may take single events out of the way.
ALTER TABLE instep_parked_key ADD COLUMN dead_us INTEGER;
ALTER TABLE instep_parked_key ADD COLUMN failed_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE instep_parked_event ADD COLUMN discarded_us INTEGER;

-- What people did with dead letters, with the event as it was before.
CREATE TABLE instep_dead_letter_action (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    acted_us INTEGER NOT NULL,
    who TEXT NOT NULL,
    action TEXT NOT NULL,
    reason TEXT NOT NULL,
    subscription TEXT NOT NULL,
    key TEXT NOT NULL,
    event_number INTEGER,
    envelope TEXT,
    raw BLOB
) STRICT;
