-- In app_core_db: who made and changed each resource, by name.
SELECT r.reference_number,
       c.first_name || ' ' || c.last_name || coalesce(' (' || c.email || ')', '') AS created_by,
       u.first_name || ' ' || u.last_name || coalesce(' (' || u.email || ')', '') AS updated_by
FROM resources r
LEFT JOIN lookup_users c ON c.id = r.created_by
LEFT JOIN lookup_users u ON u.id = r.updated_by
ORDER BY r.reference_number;
