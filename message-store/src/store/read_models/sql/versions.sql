-- The versions of one read model, or of all. A position without a version is that of version 1.
SELECT coalesce(v.name, p.name), coalesce(v.version, 1), v.state, p.global_position, coalesce(v.effects_after, 0), v.failure, p.name
FROM {schema}read_models p
LEFT JOIN {schema}read_model_versions v ON v.position_name = p.name
WHERE CAST($1 AS text) IS NULL OR v.name = $1 OR (v.name IS NULL AND p.name = $1)
ORDER BY 1, 2
