//! Whether the chain is whole.

use super::super::db::{Db, Tx};
use super::super::failure::Failure;
use super::{AuditEntry, missing_head};

/// Entries read at a time.
const PAGE: u64 = 1000;

/// The end of the chain: how many entries, and the hash of the last. Kept outside the database, it
/// proves later that nothing up to here was changed or cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditHead {
    /// The number of the last entry; 0: none.
    pub seq: u64,
    /// Its hash; empty: none.
    pub hash: String,
}

/// What a verification found. Exhaustive: whole or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditCheck {
    /// Every entry follows from the one before.
    Intact(AuditHead),
    /// The chain is broken.
    Broken {
        /// The first entry that is missing or not what was written.
        seq: u64,
        /// How.
        reason: &'static str,
    },
}

pub(in super::super) async fn head(tx: &mut Tx, lock: bool) -> Result<AuditHead, Failure> {
    let lock = if lock { tx.dialect().for_update() } else { "" };
    let sql = format!("SELECT seq, hash FROM hmac_propagation_audit_head WHERE id = 1{lock}");
    let record = tx.fetch_one(&sql, Vec::new()).await?.ok_or_else(missing_head)?;
    Ok(AuditHead { seq: record.count("seq")?, hash: record.text("hash")? })
}

/// Follows the chain from its start. `known`: an end that was seen before.
pub(in super::super) async fn verify(
    db: &Db,
    known: Option<&AuditHead>,
) -> Result<AuditCheck, Failure> {
    // What is appended from now on is left to the next verification.
    let mut tx = db.begin_reading().await?;
    let end = head(&mut tx, false).await?;
    drop(tx);
    let mut last = AuditHead { seq: 0, hash: String::new() };
    let mut known = known.filter(|known| known.seq > 0);
    while last.seq < end.seq {
        let entries = page(db, last.seq, end.seq).await?;
        if entries.is_empty() {
            return Ok(AuditCheck::Broken { seq: last.seq + 1, reason: "missing" });
        }
        for entry in entries {
            if let Some(reason) = fault(&entry, &last) {
                return Ok(AuditCheck::Broken { seq: last.seq + 1, reason });
            }
            last = AuditHead { seq: entry.seq, hash: entry.hash };
            if let Some(seen) = known.take_if(|seen| seen.seq == last.seq)
                && seen.hash != last.hash
            {
                return Ok(AuditCheck::Broken { seq: last.seq, reason: "rewritten" });
            }
        }
    }
    Ok(match known {
        Some(_) => AuditCheck::Broken { seq: last.seq + 1, reason: "missing" },
        None if last.hash != end.hash => AuditCheck::Broken { seq: last.seq, reason: "rewritten" },
        None => AuditCheck::Intact(last),
    })
}

fn fault(entry: &AuditEntry, before: &AuditHead) -> Option<&'static str> {
    if entry.seq != before.seq + 1 {
        return Some("missing");
    }
    if entry.previous_hash != before.hash || entry.hash != entry.digest() {
        return Some("changed");
    }
    None
}

async fn page(db: &Db, last: u64, end: u64) -> Result<Vec<AuditEntry>, Failure> {
    let mut tx = db.begin_reading().await?;
    let sql =
        "SELECT * FROM hmac_propagation_audit WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?";
    let records = tx.fetch(sql, vec![last.into(), end.into(), PAGE.into()]).await?;
    records.iter().map(AuditEntry::read).collect()
}
