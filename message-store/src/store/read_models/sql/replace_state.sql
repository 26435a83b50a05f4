UPDATE {schema}read_model_versions SET state = $3 WHERE name = $1 AND state = $2
