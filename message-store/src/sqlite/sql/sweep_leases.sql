DELETE FROM key_leases WHERE ends_at <= ?1
