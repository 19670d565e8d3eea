//! The ledger's tables. Entries and transactions are never changed: triggers refuse it, whoever asks.

use crate::database::Schema;

pub(super) const SCHEMA: Schema = Schema {
    tables: "
CREATE TABLE IF NOT EXISTS ledger_accounts (
    id TEXT PRIMARY KEY,
    currency TEXT NOT NULL,
    kind TEXT NOT NULL,
    customer TEXT,
    floor BIGINT,
    balance BIGINT NOT NULL,
    held BIGINT NOT NULL CHECK (held >= 0),
    sequence BIGINT NOT NULL,
    opened BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS ledger_transactions (
    position {position},
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    reference TEXT NOT NULL,
    details TEXT,
    hold TEXT,
    time BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS ledger_entries (
    account TEXT NOT NULL REFERENCES ledger_accounts (id),
    sequence BIGINT NOT NULL,
    type TEXT NOT NULL,
    amount BIGINT NOT NULL,
    currency TEXT NOT NULL,
    balance BIGINT NOT NULL,
    available BIGINT NOT NULL,
    txn TEXT,
    event TEXT NOT NULL,
    PRIMARY KEY (account, sequence)
);
CREATE INDEX IF NOT EXISTS ledger_entries_txn ON ledger_entries (txn) WHERE txn IS NOT NULL;
CREATE TABLE IF NOT EXISTS ledger_holds (
    id TEXT PRIMARY KEY,
    account TEXT NOT NULL REFERENCES ledger_accounts (id),
    amount BIGINT NOT NULL CHECK (amount > 0),
    currency TEXT NOT NULL,
    card TEXT NOT NULL,
    merchant TEXT NOT NULL,
    descriptor TEXT NOT NULL,
    state TEXT NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    txn TEXT
);
CREATE INDEX IF NOT EXISTS ledger_holds_open ON ledger_holds (created) WHERE state = 'open';
CREATE INDEX IF NOT EXISTS ledger_holds_expiring ON ledger_holds (expires) WHERE state = 'open';
CREATE TABLE IF NOT EXISTS ledger_keys (
    key TEXT PRIMARY KEY,
    digest TEXT NOT NULL,
    status BIGINT NOT NULL,
    answer TEXT NOT NULL,
    time BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS ledger_keys_time ON ledger_keys (time);
CREATE TABLE IF NOT EXISTS ledger_outbox (
    position {position},
    account TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    time BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS ledger_fences (
    lock TEXT PRIMARY KEY,
    token BIGINT NOT NULL
);
",
    sqlite: "
CREATE TRIGGER IF NOT EXISTS ledger_entries_stay BEFORE UPDATE ON ledger_entries
    BEGIN SELECT RAISE(ABORT, 'entries are never changed'); END;
CREATE TRIGGER IF NOT EXISTS ledger_entries_remain BEFORE DELETE ON ledger_entries
    BEGIN SELECT RAISE(ABORT, 'entries are never deleted'); END;
CREATE TRIGGER IF NOT EXISTS ledger_transactions_stay BEFORE UPDATE ON ledger_transactions
    BEGIN SELECT RAISE(ABORT, 'transactions are never changed'); END;
CREATE TRIGGER IF NOT EXISTS ledger_transactions_remain BEFORE DELETE ON ledger_transactions
    BEGIN SELECT RAISE(ABORT, 'transactions are never deleted'); END;
",
    postgres: "
CREATE OR REPLACE FUNCTION ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION '% is never changed', TG_TABLE_NAME; END $$;
CREATE OR REPLACE TRIGGER ledger_entries_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entries
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse();
CREATE OR REPLACE TRIGGER ledger_transactions_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_transactions
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse();
",
};
