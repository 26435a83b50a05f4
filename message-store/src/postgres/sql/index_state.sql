-- Whether the index of the messages, or of the archive, with the name $1 can be used. NULL if there is none.
SELECT (SELECT i.indisvalid AND i.indisready FROM pg_index i
  WHERE i.indrelid IN (to_regclass('message_store.messages'), to_regclass('message_store.archived_messages'))
    AND i.indexrelid = to_regclass('message_store.' || $1))
