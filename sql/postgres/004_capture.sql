-- The publish contracts that triggers are in force for.
CREATE TABLE instep.contract (
    entity text NOT NULL PRIMARY KEY,
    table_name text NOT NULL UNIQUE,
    version bigint NOT NULL,
    contract text NOT NULL,
    applied_us bigint NOT NULL
);
