-- The newest version that a subscription has dealt with, and which life of its source wrote it.
ALTER TABLE instep.progress ADD COLUMN incarnation bigint;
ALTER TABLE instep.progress ADD COLUMN version bytea;

-- The version of the newest event that was confirmed with a cursor.
ALTER TABLE instep.cursor ADD COLUMN confirmed bytea;

-- The way from one broker to another, as far as this service has gone it (`instep
-- migrate-broker`): 'prepared' subscribes on both, 'publishing' publishes to the new one and
-- reads the old one to its end, 'moved' is at home on the new one.
CREATE TABLE instep.broker_move (
    only_row integer PRIMARY KEY CHECK (only_row = 1),
    old_broker text NOT NULL,
    new_broker text NOT NULL,
    stage text NOT NULL CHECK (stage IN ('prepared', 'publishing', 'moved')),
    moved_us bigint NOT NULL
);
