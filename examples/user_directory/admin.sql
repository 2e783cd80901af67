-- Settings of the system, in app_admin_db.
CREATE TABLE settings (
    name varchar(50) PRIMARY KEY,
    value text NOT NULL,
    updated_by uuid
);
