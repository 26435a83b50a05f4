UPDATE {schema}read_model_versions SET failure = $3 WHERE name = $1 AND version = $2
