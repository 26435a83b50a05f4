INSERT INTO service_reports (id, started_at, reported_at, report) VALUES (?1, ?2, ?2, ?3)
ON CONFLICT (id) DO UPDATE SET reported_at = excluded.reported_at, report = excluded.report
