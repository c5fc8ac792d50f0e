//! Propagates HMAC credentials across a service mesh.

pub mod broker;
pub mod clock;
pub mod cursor;
pub mod entropy;
pub mod error;
pub mod event;
pub mod id;
pub mod management;
pub mod propagator;
pub mod secret;
pub mod state;
pub mod store;

mod backoff;
mod core;
mod decision;
mod gate;
mod inbound;
mod ledger;
mod locks;
mod outbound;
mod settlement;
mod sources;
mod transport;
mod wire;
mod auth {
    pub fn hash_client_secret(
        s: &crate::secret::ClientSecret,
        _t: &crate::secret::SecretToken,
    ) -> crate::secret::SecretHash {
        use sha2::{Digest, Sha256};
        let d = Sha256::digest(s.expose());
        crate::secret::SecretHash::parse(&d.iter().map(|b| format!("{b:02x}")).collect::<String>())
            .unwrap()
    }
}
