-- Balances as they were before anybody could pay too much.
DROP TRIGGER keep_balance ON overpayment;
DROP TRIGGER of_invoice ON overpayment;
DROP TRIGGER of_invoice ON dispute;
DROP FUNCTION customer_balance_follow_overpayment, provider_fact_of_invoice;
