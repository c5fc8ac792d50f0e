-- The store in which a target holds a revision, as it said with its answer.
ALTER TABLE hmac_credential_targets ADD COLUMN store_id TEXT;
