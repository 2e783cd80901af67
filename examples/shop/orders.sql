CREATE TABLE IF NOT EXISTS carts (
    user_id text PRIMARY KEY,
    correlation_id text NOT NULL
);

CREATE TABLE IF NOT EXISTS orders (
    order_id text PRIMARY KEY,
    user_id text NOT NULL REFERENCES carts (user_id),
    total_cents bigint NOT NULL,
    status text NOT NULL
);

-- The primary key would refuse an effect that came twice.
CREATE TABLE IF NOT EXISTS order_history (
    order_id text NOT NULL REFERENCES orders (order_id),
    what text NOT NULL,
    correlation_id text NOT NULL,
    PRIMARY KEY (order_id, what)
);
