//! What the library asks of the directory of peers.

use super::Inner;
use super::failure::Failure;
use super::vault::Place;
use crate::id::PeerQueue;
use crate::management::ManagementError;
use crate::secret::PropagationSecret;

pub(super) async fn list(inner: &Inner) -> Result<Vec<PeerQueue>, Failure> {
    let mut tx = inner.db.begin_reading().await?;
    let sql = "SELECT queue FROM hmac_propagation_targets ORDER BY queue";
    let mut peers = Vec::new();
    for record in tx.fetch(sql, Vec::new()).await? {
        // A name that somebody put there past us is no peer.
        peers.extend(PeerQueue::new(record.text("queue")?));
    }
    Ok(peers)
}

pub(super) async fn secret(
    inner: &Inner,
    source: &PeerQueue,
) -> Result<Option<PropagationSecret>, Failure> {
    let mut tx = inner.db.begin_reading().await?;
    let sql = "SELECT propagation_secret FROM hmac_propagation_targets WHERE queue = ?";
    let Some(record) = tx.fetch_one(sql, vec![source.as_str().into()]).await? else {
        return Ok(None);
    };
    let sealed = record.text("propagation_secret")?;
    inner.vault.prepare(&mut tx, std::iter::once(sealed.as_str())).await?;
    let secret = inner.vault.open(Place::Target(source), &sealed)?;
    let empty = |e| ManagementError::permanent("a stored secret is empty").with_source(e);
    Ok(Some(PropagationSecret::new(secret.as_str()).map_err(empty)?))
}
