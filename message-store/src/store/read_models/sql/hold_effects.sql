UPDATE {schema}read_model_versions SET effects_after = $3 WHERE name = $1 AND version = $2 AND effects_after < $3
