-- What operators write beside a peer of the directory.
ALTER TABLE hmac_propagation_targets ADD COLUMN note TEXT;
