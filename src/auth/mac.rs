//! HMAC-SHA256 under a key of any length.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// A keyed state. Cloning it saves the two hash blocks that setting the key costs.
pub(super) type KeyedMac = Hmac<Sha256>;

/// RFC 2104, section 2: a key longer than a block is hashed first, then all are padded with zeros.
/// Done here because the block-sized constructor, unlike the one for slices, cannot fail.
pub(super) fn keyed(key: &[u8]) -> KeyedMac {
    let mut block = Zeroizing::new([0_u8; 64]);
    if key.len() <= block.len() {
        block[..key.len()].copy_from_slice(key);
    } else {
        block[..32].copy_from_slice(&Sha256::digest(key));
    }
    KeyedMac::new((&*block).into())
}

pub(super) fn finish(mac: KeyedMac) -> [u8; 32] {
    mac.finalize().into_bytes().into()
}
