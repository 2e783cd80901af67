-- The accounts, where alone they are changed. Written for PostgreSQL and SQLite.
CREATE TABLE IF NOT EXISTS users (
    id text NOT NULL PRIMARY KEY,
    username text NOT NULL UNIQUE,
    name text NOT NULL,
    email text NOT NULL,
    password_hash text
);
