SELECT version FROM {schema}read_model_versions WHERE name = $1 ORDER BY version {for_update}
