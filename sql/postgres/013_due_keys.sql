-- Keys that are tried again are found by time, however many wait for a person beside them.

DROP INDEX instep.parked_key_by_time;
CREATE INDEX parked_key_by_time ON instep.parked_key (subscription, next_try_us)
    WHERE dead_us IS NULL;
