DELETE FROM {schema}read_model_skipped WHERE name = $1 AND version = $2 AND global_position > $3
