"""What the SQL backends share: the tables, and how their rows read as the records of the seam."""
