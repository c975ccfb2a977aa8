-- The rates of all currencies.
SELECT currency, "on", rate_to_book FROM fx ORDER BY currency, "on"
