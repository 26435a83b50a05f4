INSERT OR REPLACE INTO view_positions (view, global_position) VALUES (?1, ?2)
