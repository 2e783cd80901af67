CREATE TABLE IF NOT EXISTS bought_together (
    sku text NOT NULL,
    other text NOT NULL,
    times bigint NOT NULL,
    PRIMARY KEY (sku, other)
);
