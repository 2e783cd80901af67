-- In app_core_db: a resource that one user made and another changed.
INSERT INTO resources (reference_number, first_name, created_by, updated_by)
VALUES ('REF-00001', 'Birth register 1911', '0b8a1c52-5f0e-4a8e-9a53-3f4f0c1d2e01',
        '0b8a1c52-5f0e-4a8e-9a53-3f4f0c1d2e02');
