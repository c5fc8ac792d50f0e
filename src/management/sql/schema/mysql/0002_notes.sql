-- What operators write beside a peer of the directory. A step that was interrupted is run again.
ALTER TABLE hmac_propagation_targets ADD COLUMN IF NOT EXISTS note MEDIUMTEXT;
