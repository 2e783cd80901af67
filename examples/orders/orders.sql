-- The order service's own table: what an order is now. The events that made it so are in the log,
-- and the row is a snapshot of them: as of the event `version`, by the rules that `fold` numbers.
CREATE TABLE IF NOT EXISTS orders (
    order_id varchar(64) PRIMARY KEY,
    customer_id varchar(64) NOT NULL,
    total_cents bigint NOT NULL CHECK (total_cents > 0),
    currency varchar(3) NOT NULL,
    status varchar(10) NOT NULL,
    version bigint NOT NULL,
    fold integer NOT NULL
);
