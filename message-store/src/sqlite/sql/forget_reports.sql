DELETE FROM service_reports WHERE reported_at < ?2 AND id <> ?1
