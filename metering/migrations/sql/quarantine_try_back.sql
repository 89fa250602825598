DROP TRIGGER reason_of_try ON quarantined_event;
DROP FUNCTION quarantined_event_reason_of_try();
