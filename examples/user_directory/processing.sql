-- What is done with resources, in app_processing_db.
CREATE TABLE processing_runs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    reference_number varchar(20) NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    created_by uuid
);
