//! Whether the chain is whole.

use super::super::db::{Db, Record, Tx};
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
        /// The first entry that is missing, not what was written, or more than was written.
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
    let (end, stored) = extent(db).await?;
    let mut last = AuditHead { seq: 0, hash: String::new() };
    let mut known = known.filter(|known| known.seq > 0);
    while last.seq < end.seq {
        let records = page(db, last.seq, end.seq).await?;
        if records.is_empty() {
            return Ok(AuditCheck::Broken { seq: last.seq + 1, reason: "missing" });
        }
        for record in records {
            // What cannot be read as an entry was not written as one.
            let read = AuditEntry::read(&record).ok();
            let entry = match read.ok_or("changed").and_then(|entry| follows(entry, &last)) {
                Ok(entry) => entry,
                Err(reason) => return Ok(AuditCheck::Broken { seq: last.seq + 1, reason }),
            };
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
        None if stored != end.seq => AuditCheck::Broken { seq: last.seq + 1, reason: "added" },
        None => AuditCheck::Intact(last),
    })
}

/// The end of the chain and how many entries there are, as of one moment. More than the end's number:
/// somebody put entries beside the chain.
async fn extent(db: &Db) -> Result<(AuditHead, u64), Failure> {
    let mut tx = db.begin_reading().await?;
    let sql = "SELECT h.seq, h.hash, (SELECT COUNT(*) FROM hmac_propagation_audit) AS stored \
         FROM hmac_propagation_audit_head AS h WHERE h.id = 1";
    let record = tx.fetch_one(sql, Vec::new()).await?.ok_or_else(missing_head)?;
    let end = AuditHead { seq: record.count("seq")?, hash: record.text("hash")? };
    Ok((end, record.count("stored")?))
}

fn follows(entry: AuditEntry, before: &AuditHead) -> Result<AuditEntry, &'static str> {
    if entry.seq != before.seq + 1 {
        return Err("missing");
    }
    if entry.previous_hash != before.hash || entry.hash != entry.digest() {
        return Err("changed");
    }
    Ok(entry)
}

async fn page(db: &Db, last: u64, end: u64) -> Result<Vec<Record>, Failure> {
    let mut tx = db.begin_reading().await?;
    let sql =
        "SELECT * FROM hmac_propagation_audit WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?";
    tx.fetch(sql, vec![last.into(), end.into(), PAGE.into()]).await
}
