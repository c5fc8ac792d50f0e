-- Explained in docs/sql-schema.md. Times are milliseconds since the epoch; flags are 0 or 1.

CREATE TABLE hmac_credentials (
    track            TEXT COLLATE "C" NOT NULL CHECK (track IN ('http', 'message')),
    client_id        TEXT COLLATE "C" NOT NULL,
    revision         BIGINT NOT NULL CHECK (revision >= 0),
    operation        TEXT COLLATE "C" NOT NULL CHECK (operation IN ('create', 'update', 'delete')),
    secret_hash      TEXT,
    plain_secret     TEXT,
    allowed_ips      TEXT,
    expires_at       BIGINT CHECK (expires_at >= 0),
    unreported       BIGINT NOT NULL,
    outcome          TEXT COLLATE "C" CHECK (outcome IN ('success', 'partial', 'error')),
    created_at       BIGINT NOT NULL,
    updated_at       BIGINT NOT NULL,
    reported_at      BIGINT,
    rotated_at       BIGINT,
    rotate_after     BIGINT CHECK (rotate_after > 0),
    rotate_jitter    BIGINT NOT NULL DEFAULT 0,
    next_rotation_at BIGINT,
    PRIMARY KEY (track, client_id),
    CHECK ((operation = 'delete') = (secret_hash IS NULL))
);

CREATE TABLE hmac_propagation_targets (
    queue              TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    propagation_secret TEXT NOT NULL,
    receive_only       BIGINT NOT NULL,
    created_at         BIGINT NOT NULL,
    updated_at         BIGINT NOT NULL
);

CREATE TABLE hmac_credential_targets (
    track         TEXT COLLATE "C" NOT NULL,
    client_id     TEXT COLLATE "C" NOT NULL,
    target        TEXT COLLATE "C" NOT NULL,
    revision      BIGINT NOT NULL CHECK (revision >= 0),
    status        TEXT COLLATE "C" NOT NULL CHECK (status IN ('pending', 'sent', 'success', 'error')),
    is_open       BIGINT NOT NULL,
    event_id      TEXT COLLATE "C",
    attempts      BIGINT NOT NULL CHECK (attempts >= 0),
    retry_at      BIGINT CHECK (retry_at >= 0),
    sent_at       BIGINT,
    settled_at    BIGINT,
    proof         TEXT COLLATE "C" CHECK (proof IN ('signed', 'receive_only')),
    last_error    TEXT,
    claimed_by    TEXT COLLATE "C",
    claimed_until BIGINT,
    PRIMARY KEY (track, client_id, target),
    FOREIGN KEY (track, client_id) REFERENCES hmac_credentials (track, client_id),
    CHECK (is_open = CASE WHEN status = 'success' OR (status = 'error' AND retry_at IS NULL) THEN 0 ELSE 1 END)
);

CREATE TABLE hmac_propagation_audit (
    seq           BIGINT NOT NULL PRIMARY KEY,
    at            BIGINT NOT NULL,
    action        TEXT COLLATE "C" NOT NULL,
    actor         TEXT COLLATE "C" NOT NULL,
    track         TEXT COLLATE "C",
    client_id     TEXT COLLATE "C",
    target        TEXT COLLATE "C",
    revision      BIGINT,
    event_id      TEXT COLLATE "C",
    detail        TEXT,
    previous_hash TEXT COLLATE "C" NOT NULL,
    hash          TEXT COLLATE "C" NOT NULL
);

CREATE TABLE hmac_propagation_audit_head (
    id   BIGINT NOT NULL PRIMARY KEY,
    seq  BIGINT NOT NULL,
    hash TEXT COLLATE "C" NOT NULL
);

CREATE TABLE hmac_data_keys (
    key_id     TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    kek_id     TEXT COLLATE "C" NOT NULL,
    wrapped    TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    active     BIGINT NOT NULL
);

-- Open rows, credentials still to be reported, and due rotations, in the order in which they are read.
-- What is settled is not in them.
CREATE INDEX hmac_credential_targets_open ON hmac_credential_targets (track, client_id, target) WHERE is_open = 1;
CREATE INDEX hmac_credentials_unreported ON hmac_credentials (track, client_id) WHERE unreported = 1;
CREATE INDEX hmac_credentials_rotation ON hmac_credentials (next_rotation_at, track, client_id) WHERE next_rotation_at IS NOT NULL;
CREATE INDEX hmac_credential_targets_target ON hmac_credential_targets (target, track, client_id);
CREATE INDEX hmac_propagation_audit_credential ON hmac_propagation_audit (track, client_id, seq);

INSERT INTO hmac_propagation_audit_head (id, seq, hash) VALUES (1, 0, '');
