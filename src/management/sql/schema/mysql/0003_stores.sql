-- The store in which a target holds a revision, as it said with its answer. A step that was interrupted is run again.
ALTER TABLE hmac_credential_targets ADD COLUMN IF NOT EXISTS store_id VARCHAR(64);
