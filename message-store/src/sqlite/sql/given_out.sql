-- The highest global position that was given out. Its message may have been deleted.
SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'messages'
