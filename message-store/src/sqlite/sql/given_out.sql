-- The highest global position that was given out, whether its message still stands or not.
SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'messages'
