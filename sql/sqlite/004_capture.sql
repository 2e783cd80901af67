-- The publish contracts that triggers are in force for.
CREATE TABLE instep_contract (
    entity TEXT NOT NULL PRIMARY KEY,
    table_name TEXT NOT NULL UNIQUE,
    version INTEGER NOT NULL,
    contract TEXT NOT NULL,
    applied_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
