//! The database and the keys that encrypt what stands in it.

use hmac_propagator::management::sql::{KeyRing, LocalKey, Passphrase};

use super::Database;
use super::hidden::Hidden;
use super::keys::{self, Key};
use super::reader::{Reader, of_length};

/// The keys of one key-encryption key: itself, in either form, and its name.
struct Names {
    key: &'static Key,
    passphrase: &'static Key,
    id: &'static Key,
}

/// A key-encryption key with its name.
enum Kek {
    Local(LocalKey),
    Derived(Passphrase),
}

pub(super) fn read(reader: &mut Reader) -> Option<Option<Database>> {
    let url = reader.optional(&keys::DATABASE_URL, |text| {
        let schemes = ["sqlite:", "postgres:", "postgresql:", "mysql:", "mariadb:"];
        schemes.iter().any(|scheme| text.starts_with(scheme)).then(|| Hidden::new(text))
    });
    let current = kek(
        reader,
        &Names {
            key: &keys::DATABASE_KEY,
            passphrase: &keys::DATABASE_PASSPHRASE,
            id: &keys::DATABASE_KEY_ID,
        },
    );
    let old = kek(
        reader,
        &Names {
            key: &keys::DATABASE_OLD_KEY,
            passphrase: &keys::DATABASE_OLD_PASSPHRASE,
            id: &keys::DATABASE_OLD_KEY_ID,
        },
    );
    let keys = ring(reader, current?, old?)?;
    Some(url?.map(|url| Database { url, keys }))
}

/// `None`: wrong, and noted. `Some(None)`: there is none.
fn kek(reader: &mut Reader, names: &Names) -> Option<Option<(String, Kek)>> {
    let id = reader.optional(names.id, |text| {
        let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        of_length(text, 128).filter(|id| id.chars().all(fine))
    });
    // Whether a key can be read does not depend on its name.
    let name = id.clone().flatten().unwrap_or_default();
    let key = reader.optional(names.key, |text| LocalKey::from_hex(&name, text).ok());
    let passphrase = reader.optional(names.passphrase, |text| Passphrase::new(&name, text).ok());
    let kek = match (key?, passphrase?) {
        (Some(_), Some(_)) => return wrong(reader, names.passphrase),
        (Some(key), None) => Kek::Local(key),
        (None, Some(passphrase)) => Kek::Derived(passphrase),
        (None, None) => return id.map(|_| None),
    };
    match id? {
        Some(id) => Some(Some((id, kek))),
        None => wrong(reader, names.id),
    }
}

fn ring(
    reader: &mut Reader,
    current: Option<(String, Kek)>,
    old: Option<(String, Kek)>,
) -> Option<Option<KeyRing>> {
    let Some((id, current)) = current else {
        // An old key alone would leave the next values in clear.
        return if old.is_some() { wrong(reader, &keys::DATABASE_OLD_KEY_ID) } else { Some(None) };
    };
    let ring = match current {
        Kek::Local(key) => KeyRing::new(key),
        Kek::Derived(passphrase) => KeyRing::new(passphrase),
    };
    match old {
        None => Some(Some(ring)),
        Some((old_id, _)) if old_id == id => wrong(reader, &keys::DATABASE_OLD_KEY_ID),
        Some((_, Kek::Local(key))) => Some(Some(ring.older(key))),
        Some((_, Kek::Derived(passphrase))) => Some(Some(ring.older(passphrase))),
    }
}

fn wrong<T>(reader: &mut Reader, key: &Key) -> Option<T> {
    let source = reader.source(key);
    reader.problems.wrong(key, &source);
    None
}
