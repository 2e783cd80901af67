-- A cursor that was taken back: what it has read up to here is read once more from there on.

ALTER TABLE instep.cursor ADD COLUMN past_seq bigint;
