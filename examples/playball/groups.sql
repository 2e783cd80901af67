-- Group management's tables. Written for PostgreSQL and SQLite.

-- Auth's users as far as they have arrived. Instep alone writes here, and adds its column
-- instep_version. No foreign key leads here: a user may be gone, or not here yet.
CREATE TABLE IF NOT EXISTS lookup_users (
    id text NOT NULL PRIMARY KEY,
    username text,
    name text
);

-- Who takes part, or may not any more. Whoever changes a user's memberships locks the row first,
-- so that nobody joins a group behind the handler that removes them.
CREATE TABLE IF NOT EXISTS players (
    user_id text NOT NULL PRIMARY KEY,
    is_deleted integer NOT NULL
);

CREATE TABLE IF NOT EXISTS groups (
    name text NOT NULL PRIMARY KEY,
    members integer NOT NULL,
    state text NOT NULL
);

CREATE TABLE IF NOT EXISTS memberships (
    group_name text NOT NULL REFERENCES groups (name),
    user_id text NOT NULL REFERENCES players (user_id),
    PRIMARY KEY (group_name, user_id)
);

-- The names that a user has gone by, in order: 1, 2, 3.
CREATE TABLE IF NOT EXISTS player_names (
    user_id text NOT NULL,
    number integer NOT NULL,
    name text NOT NULL,
    PRIMARY KEY (user_id, number)
);

-- A row for each time that a deleted account was dealt with. Nothing here keeps a second one out.
CREATE TABLE IF NOT EXISTS departures (
    user_id text NOT NULL,
    groups_left integer NOT NULL
);
