-- What the read model keeps. `version` is the place of the newest event in its order's stream.
CREATE TABLE IF NOT EXISTS order_summary (
    order_id varchar(64) PRIMARY KEY,
    customer_id varchar(64) NOT NULL,
    total_cents bigint NOT NULL,
    currency varchar(3) NOT NULL,
    status varchar(10) NOT NULL,
    tracking_code varchar(64),
    version bigint NOT NULL
);

-- Sums: an event that took effect twice, or never, would show here.
CREATE TABLE IF NOT EXISTS customer_summary (
    customer_id varchar(64) NOT NULL,
    currency varchar(3) NOT NULL,
    orders bigint NOT NULL,
    paid_cents bigint NOT NULL,
    PRIMARY KEY (customer_id, currency)
);
