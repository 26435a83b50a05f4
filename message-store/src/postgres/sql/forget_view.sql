-- A result that was read in this transaction keeps the view of the database that it was made of, until the next one replaces it. This one,
-- in the simple protocol, is gone when it has been sent.
SELECT
