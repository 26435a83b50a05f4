-- Both statements and the question between them are one transaction, so a pooler gives them one session.
PREPARE {name} AS {sql}
;
SELECT array_to_string(parameter_types::oid[], ' ') FROM pg_prepared_statements WHERE name = '{name}';
DEALLOCATE {name}
