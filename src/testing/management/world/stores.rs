//! Words for stores that were lost.

use super::{NOW, applied, ensure, put, queue, report, succeed};
use crate::id::Track;
use crate::management::{
    CredentialPage, FetchCredentials, Management, Outcome, ReopenRows, StoredCredential,
    TargetSuccess,
};
use crate::store::StoreId;
use crate::testing::management::Fixture;

/// A store of a target.
pub fn store_id(id: &str) -> StoreId {
    StoreId::new(id).unwrap()
}

/// A target that proved a revision out of a store.
pub fn proved(client: &str, target: &str, number: u64, store: &str) -> TargetSuccess {
    TargetSuccess { store: Some(store_id(store)), ..applied(client, target, number) }
}

/// Makes a credential at revision 7 that its only target has proved out of a store, and that is
/// reported.
pub async fn hold(fixture: &dyn Fixture, client: &str, target: &str, store: &str) {
    ensure(fixture, put(client, 7, '1', &[target])).await;
    succeed(fixture, proved(client, target, 7, store)).await;
    report(fixture, client, 7, Outcome::Success).await;
}

/// A target has another store on track `http`: this one, or one that it cannot name.
pub fn reopening(target: &str, proved_by: Option<&str>) -> ReopenRows {
    ReopenRows {
        target: queue(target),
        track: Track::Http,
        proved_by: proved_by.map(store_id),
        after: None,
        limit: 100,
        now_ms: NOW,
    }
}

/// Reopens all, by pages of a length. How many rows that were.
pub async fn reopen(management: &dyn Management, request: ReopenRows, limit: usize) -> u64 {
    let mut request = ReopenRows { limit, ..request };
    let mut rows = 0;
    for _ in 0..1000 {
        let page = management.reopen_rows(request.clone()).await.unwrap();
        assert!(page.rows <= limit as u64, "a page longer than asked for");
        rows += page.rows;
        match page.next {
            Some(next) => request.after = Some(next),
            None => return rows,
        }
    }
    panic!("the pages have no end")
}

/// A page of the credentials of a track.
pub async fn page_of_credentials(
    management: &dyn Management,
    track: Track,
    after: Option<String>,
    limit: usize,
) -> CredentialPage {
    let request = FetchCredentials { track, after, limit };
    management.fetch_credentials(request).await.unwrap()
}

/// All credentials of a track, by pages of a length.
pub async fn credentials(
    management: &dyn Management,
    track: Track,
    limit: usize,
) -> Vec<StoredCredential> {
    let (mut entries, mut after) = (Vec::new(), None);
    for _ in 0..1000 {
        let page = page_of_credentials(management, track, after, limit).await;
        assert!(page.entries.len() <= limit, "a page longer than asked for");
        entries.extend(page.entries);
        after = page.next;
        if after.is_none() {
            return entries;
        }
    }
    panic!("the pages have no end")
}
