-- A large index takes long. A limit of the role or of the database would end it.
SET statement_timeout = 0;
SET lock_timeout = 0
