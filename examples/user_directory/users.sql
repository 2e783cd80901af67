-- What an application might do in app_iam_db, in plain SQL.
INSERT INTO users (id, employee_code, national_id, username, title, first_name, last_name, email,
                   position, employee_type, gender, password_hash, mfa_secret)
VALUES
    ('0b8a1c52-5f0e-4a8e-9a53-3f4f0c1d2e01', 'E0000001', '1000000000001', 'john.smith', NULL,
     'John', 'Smith', 'john.smith@company.com', 'Registrar', 'permanent', 'male',
     '$argon2id$not-for-others', 'JBSWY3DPEHPK3PXP'),
    ('0b8a1c52-5f0e-4a8e-9a53-3f4f0c1d2e02', 'E0000002', '1000000000002', 'jane.roe', 'Dr.',
     'Jane', 'Roe', 'jane.r@company.com', 'Analyst', 'permanent', 'female',
     '$argon2id$not-for-others', NULL),
    ('0b8a1c52-5f0e-4a8e-9a53-3f4f0c1d2e03', 'E0000003', '1000000000003', 'max.moe', NULL,
     'Max', 'Moe', NULL, 'Auditor', 'contract', 'male', '$argon2id$not-for-others', NULL);

UPDATE users SET last_name = 'Doe', email = 'jane.d@company.com', updated_at = now()
WHERE username = 'jane.roe';

UPDATE users SET password_hash = '$argon2id$changed' WHERE username = 'john.smith';

DELETE FROM users WHERE username = 'max.moe';
