-- Resources, in app_core_db. Who made and changed them are ids of users; there is no foreign key
-- to lookup_users, because a user may be gone, or not here yet.
CREATE TABLE resources (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    reference_number varchar(20) NOT NULL UNIQUE,
    first_name varchar(50) NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by uuid,
    updated_by uuid,
    deleted_by uuid
);
