-- The newest version that a subscription has dealt with, and which life of its source wrote it.
ALTER TABLE instep_progress ADD COLUMN incarnation INTEGER;
ALTER TABLE instep_progress ADD COLUMN version BLOB;

-- The version of the newest event that was confirmed with a cursor.
ALTER TABLE instep_cursor ADD COLUMN confirmed BLOB;

-- The way from one broker to another, as far as this service has gone it (`instep
-- migrate-broker`): 'prepared' subscribes on both, 'publishing' publishes to the new one and
-- reads the old one to its end, 'moved' is at home on the new one.
CREATE TABLE instep_broker_move (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    old_broker TEXT NOT NULL,
    new_broker TEXT NOT NULL,
    stage TEXT NOT NULL CHECK (stage IN ('prepared', 'publishing', 'moved')),
    moved_us INTEGER NOT NULL
) STRICT;
