-- Whether the index of the messages with the name $1 can be used. NULL if there is none.
SELECT (SELECT i.indisvalid AND i.indisready FROM pg_index i
  WHERE i.indrelid = 'message_store.messages'::regclass AND i.indexrelid = to_regclass('message_store.' || $1))
