-- All messages below the horizon $1, in the order of global positions.
WHERE global_position < $1 AND global_position >= $2
ORDER BY global_position
