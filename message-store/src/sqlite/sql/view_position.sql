SELECT global_position FROM view_positions WHERE view = ?1
