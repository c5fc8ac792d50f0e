-- Takes the data of a Node peer's management database into the tables of `SqlManagement`, in the same MariaDB database.
-- docs/sql-schema.md, "Coming from the Node package", says when and how. Run it once, with the Node peer stopped and the
-- new tables made (`SqlManagement::connect` makes them). It changes nothing in the old tables.

-- 1. How the old tables are named. Where yours differ, change these three views and nothing below.

CREATE OR REPLACE VIEW node_credentials AS
SELECT id, track, client_id, secret_hash, allowed_ips, expires_at, created_at, updated_at
  FROM hmac_credential;

CREATE OR REPLACE VIEW node_targets AS
SELECT id, queue_name AS queue, propagation_secret FROM hmac_target;

CREATE OR REPLACE VIEW node_rows AS
SELECT credential_id, target_id FROM hmac_credential_target;

-- 2. The revision of all that comes in: now, which is greater than every `ts` that the Node peer has sent unless its clock
-- was ahead. All of it or nothing is taken.

START TRANSACTION;

SET @now = CAST(UNIX_TIMESTAMP(SYSDATE(3)) * 1000 AS SIGNED);

INSERT INTO hmac_propagation_targets (queue, propagation_secret, receive_only, created_at, updated_at)
SELECT queue, CONCAT('plain:', propagation_secret), 0, @now, @now FROM node_targets;

-- A credential without a hash is one that was revoked: only its targets and its revision are kept. The plain secret is left
-- behind, the hash is enough.
INSERT INTO hmac_credentials
       (track, client_id, revision, operation, secret_hash, allowed_ips, expires_at, unreported, created_at, updated_at, rotated_at)
SELECT COALESCE(track, 'http'), client_id, @now,
       IF(COALESCE(TRIM(secret_hash), '') = '', 'delete', 'update'),
       IF(COALESCE(TRIM(secret_hash), '') = '', NULL, CONCAT('plain:', LOWER(TRIM(secret_hash)))),
       IF(COALESCE(TRIM(secret_hash), '') = '', NULL, allowed_ips),
       IF(COALESCE(TRIM(secret_hash), '') = '', NULL, CAST(UNIX_TIMESTAMP(expires_at) * 1000 AS SIGNED)),
       1,
       COALESCE(CAST(UNIX_TIMESTAMP(created_at) * 1000 AS SIGNED), @now),
       COALESCE(CAST(UNIX_TIMESTAMP(updated_at) * 1000 AS SIGNED), @now),
       COALESCE(CAST(UNIX_TIMESTAMP(updated_at) * 1000 AS SIGNED), @now)
  FROM node_credentials;

-- Every row is open, whatever it said: a `success` of the old peer may stand for an older secret. The first sync sends the
-- hash to every target once more, and from then on each row says what its target has proved.
INSERT INTO hmac_credential_targets (track, client_id, target, revision, status, is_open, attempts)
SELECT COALESCE(c.track, 'http'), c.client_id, t.queue, @now, 'pending', 1, 0
  FROM node_rows r JOIN node_credentials c ON c.id = r.credential_id JOIN node_targets t ON t.id = r.target_id;

COMMIT;

DROP VIEW node_rows;
DROP VIEW node_targets;
DROP VIEW node_credentials;
