DROP TRIGGER keep_rows ON webhook_event;
DROP TRIGGER keep_rows ON webhook_delivery;
DROP TRIGGER keep_waiting ON webhook_delivery;
DROP FUNCTION webhook_event_keep();
DROP FUNCTION webhook_delivery_keep_waiting();
CREATE TRIGGER keep_rows BEFORE UPDATE OR DELETE ON webhook_event
    FOR EACH ROW EXECUTE FUNCTION kernel_refuse_change();
ALTER TABLE webhook_event ENABLE ALWAYS TRIGGER keep_rows;
CREATE TRIGGER keep_rows BEFORE UPDATE OR DELETE ON webhook_delivery FOR EACH ROW
    EXECUTE FUNCTION kernel_refuse_other_changes(
        'attempts', 'next_try_at', 'last_tried_at', 'delivered_at', 'given_up_at', 'status',
        'failure');
ALTER TABLE webhook_delivery ENABLE ALWAYS TRIGGER keep_rows;
