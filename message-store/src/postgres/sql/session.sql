SELECT nullif(current_setting('message_store.session', true), '')
