-- The users, in app_iam_db, where alone they are changed. The last two columns never leave.
CREATE TABLE users (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    employee_id uuid,
    employee_code varchar(20) NOT NULL UNIQUE,
    national_id varchar(13) NOT NULL UNIQUE,
    username varchar(50) NOT NULL UNIQUE,
    title varchar(10),
    first_name varchar(50) NOT NULL,
    last_name varchar(50) NOT NULL,
    email varchar(100),
    phone varchar(15),
    department_id uuid,
    position varchar(200),
    employee_type varchar(20),
    profile_image_url varchar(500),
    gender varchar(10),
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    is_deleted boolean NOT NULL DEFAULT false,
    password_hash text NOT NULL,
    mfa_secret text
);
