CREATE TABLE IF NOT EXISTS addresses (
    user_id text PRIMARY KEY,
    email text NOT NULL
);

-- `number` is the order of the mails about one order; `sent_by` is the process.
CREATE TABLE IF NOT EXISTS mails (
    order_id text NOT NULL,
    number bigint NOT NULL,
    subject text NOT NULL,
    correlation_id text NOT NULL,
    sent_by text NOT NULL,
    PRIMARY KEY (order_id, number)
);
