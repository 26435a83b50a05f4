SELECT global_position FROM {schema}read_models WHERE name = $1 {for_update}
