-- Keys that are tried again are found by time, however many wait for a person beside them.

DROP INDEX instep_parked_key_by_time;
CREATE INDEX instep_parked_key_by_time ON instep_parked_key (subscription, next_try_us)
    WHERE dead_us IS NULL;
