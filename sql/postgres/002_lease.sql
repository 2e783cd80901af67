CREATE TABLE instep.lease (
    name text NOT NULL PRIMARY KEY,
    owner text NOT NULL,
    epoch bigint NOT NULL,
    until_us bigint NOT NULL
);
