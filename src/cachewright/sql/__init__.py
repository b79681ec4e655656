"""What an SQL statement reads and writes; the parser is imported only by `cachewright.sql.parse`."""
