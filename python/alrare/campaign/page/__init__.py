"""report.html: one page that shows a campaign, needs no other file and no network."""
