//! Lost stores: rows that are asked for again, and credentials to fill the own store with.

use std::ops::Bound;

use super::super::rows::RowStatus;
use super::super::{
    CredentialPage, FetchCredentials, ManagementError, ReopenRows, Reopened, StoredCredential,
};
use super::tables::{Tables, operation};
use crate::id::{ClientId, CredentialKey, Track};

impl Tables {
    pub(super) fn reopen_rows(
        &mut self,
        request: &ReopenRows,
    ) -> Result<Reopened, ManagementError> {
        let ReopenRows { target, track, proved_by, limit, .. } = request;
        let mut reopened = Reopened::default();
        for key in self.keys_after(*track, request.after.as_deref())? {
            let row = self.rows.get_mut(&key).and_then(|rows| rows.get_mut(target));
            let proved = |row: &&mut super::tables::RowEntry| {
                row.status == RowStatus::Success && (proved_by.is_none() || row.store != *proved_by)
            };
            let Some(row) = row.filter(proved) else { continue };
            (row.status, row.proof, row.store) = (RowStatus::Pending, None, None);
            reopened.rows += 1;
            if let Some(credential) = self.credentials.get_mut(&key) {
                credential.reported = None;
            }
            if reopened.rows >= *limit as u64 {
                reopened.next = Some(key.client_id.as_str().to_owned());
                break;
            }
        }
        Ok(reopened)
    }

    pub(super) fn fetch_credentials(
        &self,
        request: &FetchCredentials,
    ) -> Result<CredentialPage, ManagementError> {
        let keys = self.keys_after(request.track, request.after.as_deref())?;
        let page = keys.iter().take(request.limit);
        let entries: Vec<StoredCredential> = page
            .filter_map(|key| {
                let credential = self.credentials.get(key)?;
                Some(StoredCredential {
                    client_id: key.client_id.as_str().to_owned(),
                    revision: credential.revision,
                    operation: operation(credential),
                })
            })
            .collect();
        let more = keys.len() > entries.len();
        let next = entries.last().filter(|_| more).map(|last| last.client_id.clone());
        Ok(CredentialPage { entries, next })
    }

    fn keys_after(
        &self,
        track: Track,
        after: Option<&str>,
    ) -> Result<Vec<CredentialKey>, ManagementError> {
        let wrong =
            |e| ManagementError::permanent("not a page token of this adapter").with_source(e);
        let after = after.map(ClientId::new).transpose().map_err(wrong)?;
        let from = after.map(|client_id| CredentialKey::new(track, client_id));
        let from = from.map_or(Bound::Unbounded, Bound::Excluded);
        let keys = self.credentials.range((from, Bound::Unbounded)).map(|(key, _)| key);
        Ok(keys.filter(|key| key.track == track).cloned().collect())
    }
}
