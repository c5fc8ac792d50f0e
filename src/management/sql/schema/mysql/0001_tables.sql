-- Explained in docs/sql-schema.md. Times are milliseconds since the epoch; flags are 0 or 1.
-- Definitions are not part of a transaction here: each can be run again after a crash in their midst.
-- The collation compares byte by byte, trailing spaces too.

CREATE TABLE IF NOT EXISTS hmac_credentials (
    track            VARCHAR(8) NOT NULL CHECK (track IN ('http', 'message')),
    client_id        VARCHAR(256) NOT NULL,
    revision         BIGINT NOT NULL CHECK (revision >= 0),
    operation        VARCHAR(16) NOT NULL CHECK (operation IN ('create', 'update', 'delete')),
    secret_hash      MEDIUMTEXT,
    plain_secret     MEDIUMTEXT,
    allowed_ips      MEDIUMTEXT,
    expires_at       BIGINT CHECK (expires_at >= 0),
    unreported       BIGINT NOT NULL,
    outcome          VARCHAR(16) CHECK (outcome IN ('success', 'partial', 'error')),
    created_at       BIGINT NOT NULL,
    updated_at       BIGINT NOT NULL,
    reported_at      BIGINT,
    rotated_at       BIGINT,
    rotate_after     BIGINT CHECK (rotate_after > 0),
    rotate_jitter    BIGINT NOT NULL DEFAULT 0,
    next_rotation_at BIGINT,
    PRIMARY KEY (track, client_id),
    CHECK ((operation = 'delete') = (secret_hash IS NULL))
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE IF NOT EXISTS hmac_propagation_targets (
    queue              VARCHAR(200) NOT NULL PRIMARY KEY,
    propagation_secret MEDIUMTEXT NOT NULL,
    receive_only       BIGINT NOT NULL,
    created_at         BIGINT NOT NULL,
    updated_at         BIGINT NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE IF NOT EXISTS hmac_credential_targets (
    track         VARCHAR(8) NOT NULL,
    client_id     VARCHAR(256) NOT NULL,
    target        VARCHAR(200) NOT NULL,
    revision      BIGINT NOT NULL CHECK (revision >= 0),
    status        VARCHAR(16) NOT NULL CHECK (status IN ('pending', 'sent', 'success', 'error')),
    is_open       BIGINT NOT NULL,
    event_id      VARCHAR(128),
    attempts      BIGINT NOT NULL CHECK (attempts >= 0),
    retry_at      BIGINT CHECK (retry_at >= 0),
    sent_at       BIGINT,
    settled_at    BIGINT,
    proof         VARCHAR(16) CHECK (proof IN ('signed', 'receive_only')),
    last_error    MEDIUMTEXT,
    claimed_by    VARCHAR(32),
    claimed_until BIGINT,
    PRIMARY KEY (track, client_id, target),
    FOREIGN KEY (track, client_id) REFERENCES hmac_credentials (track, client_id),
    CHECK (is_open = CASE WHEN status = 'success' OR (status = 'error' AND retry_at IS NULL) THEN 0 ELSE 1 END)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE IF NOT EXISTS hmac_propagation_audit (
    seq           BIGINT NOT NULL PRIMARY KEY,
    at            BIGINT NOT NULL,
    action        VARCHAR(32) NOT NULL,
    actor         VARCHAR(256) NOT NULL,
    track         VARCHAR(8),
    client_id     VARCHAR(256),
    target        VARCHAR(200),
    revision      BIGINT,
    event_id      VARCHAR(128),
    detail        MEDIUMTEXT,
    previous_hash VARCHAR(64) NOT NULL,
    hash          VARCHAR(64) NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE IF NOT EXISTS hmac_propagation_audit_head (
    id   BIGINT NOT NULL PRIMARY KEY,
    seq  BIGINT NOT NULL,
    hash VARCHAR(64) NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE IF NOT EXISTS hmac_data_keys (
    key_id     VARCHAR(32) NOT NULL PRIMARY KEY,
    kek_id     VARCHAR(128) NOT NULL,
    wrapped    MEDIUMTEXT NOT NULL,
    created_at BIGINT NOT NULL,
    active     BIGINT NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- Open rows, credentials still to be reported, and due rotations, in the order in which they are read.
CREATE INDEX IF NOT EXISTS hmac_credential_targets_open ON hmac_credential_targets (is_open, track, client_id, target);
CREATE INDEX IF NOT EXISTS hmac_credentials_unreported ON hmac_credentials (unreported, track, client_id);
CREATE INDEX IF NOT EXISTS hmac_credentials_rotation ON hmac_credentials (next_rotation_at, track, client_id);
CREATE INDEX IF NOT EXISTS hmac_credential_targets_target ON hmac_credential_targets (target, track, client_id);
CREATE INDEX IF NOT EXISTS hmac_propagation_audit_credential ON hmac_propagation_audit (track, client_id, seq);

INSERT IGNORE INTO hmac_propagation_audit_head (id, seq, hash) VALUES (1, 0, '');
