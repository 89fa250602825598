DROP TRIGGER keep_zone_of_books ON policy_change;
DROP FUNCTION books_zone_refuse_late();
