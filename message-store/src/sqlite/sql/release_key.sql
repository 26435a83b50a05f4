DELETE FROM key_leases WHERE scope = ?1 AND key = ?2 AND owner = ?3
