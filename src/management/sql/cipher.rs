//! AES-256-GCM with a random nonce, and the text form of bytes.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use zeroize::Zeroizing;

use super::keys::DataKey;
use crate::entropy::{Entropy, OsEntropy};
use crate::management::ManagementError;

const NONCE: usize = 12;

/// Nonce, ciphertext and tag.
///
/// # Errors
/// Permanent for a text of gigabytes.
pub(super) fn encrypt(
    key: &DataKey,
    plain: &[u8],
    context: &[u8],
) -> Result<Vec<u8>, ManagementError> {
    let mut nonce = [0; NONCE];
    OsEntropy.fill(&mut nonce);
    let payload = Payload { msg: plain, aad: context };
    let cipher = Aes256Gcm::new(key.expose().into());
    let sealed = cipher.encrypt(&Nonce::from(nonce), payload).map_err(|_| refused())?;
    Ok([nonce.as_slice(), &sealed].concat())
}

/// # Errors
/// Permanent when this was not encrypted with this key for this context.
pub(super) fn decrypt(
    key: &DataKey,
    sealed: &[u8],
    context: &[u8],
) -> Result<Zeroizing<Vec<u8>>, ManagementError> {
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE>().ok_or_else(refused)?;
    let payload = Payload { msg: sealed, aad: context };
    let cipher = Aes256Gcm::new(key.expose().into());
    cipher.decrypt(&Nonce::from(*nonce), payload).map(Zeroizing::new).map_err(|_| refused())
}

pub(super) fn decrypt_key(
    key: &DataKey,
    sealed: &[u8],
    context: &[u8],
) -> Result<DataKey, ManagementError> {
    let plain = decrypt(key, sealed, context)?;
    <[u8; 32]>::try_from(plain.as_slice()).map(DataKey::new).map_err(|_| refused())
}

/// Says nothing of the reason: whoever tries may not learn from it.
pub(super) fn refused() -> ManagementError {
    ManagementError::permanent("an encrypted value is not what was stored there under this key")
}

pub(super) fn to_hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    crate::hex::push(&mut text, bytes);
    text
}

pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let pairs = (0..text.len()).step_by(2);
    pairs.map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_cut_moved_or_changed_does_not_open() {
        let key = DataKey::new([1; 32]);
        let sealed = encrypt(&key, b"secret", b"row 1").unwrap();
        assert_eq!(*decrypt(&key, &sealed, b"row 1").unwrap(), b"secret");
        assert!(decrypt(&key, &sealed, b"row 2").is_err());
        assert!(decrypt(&DataKey::new([2; 32]), &sealed, b"row 1").is_err());
        for end in 0..sealed.len() {
            assert!(decrypt(&key, &sealed[..end], b"row 1").is_err());
        }
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(decrypt(&key, &changed, b"row 1").is_err());
        }
    }

    #[test]
    fn no_two_ciphertexts_are_alike() {
        let key = DataKey::new([1; 32]);
        assert_ne!(encrypt(&key, b"a", b"").unwrap(), encrypt(&key, b"a", b"").unwrap());
    }

    #[test]
    fn hex_comes_back_and_nothing_else_is_read() {
        assert_eq!(from_hex(&to_hex(&[0, 127, 255])).unwrap(), [0, 127, 255]);
        for bad in ["a", "zz", "é", "+1"] {
            assert_eq!(from_hex(bad), None, "{bad}");
        }
    }
}
