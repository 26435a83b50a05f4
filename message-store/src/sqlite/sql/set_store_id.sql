UPDATE store_identity SET store_id = ?1
