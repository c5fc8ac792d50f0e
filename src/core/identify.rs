//! Which store a peer has now.

use super::Core;
use crate::error::StoreError;
use crate::id::EventId;
use crate::store::{CredentialStore, StoreId};

impl Core {
    /// Looks which store of a track this is. Returns its identity where it is another one than this process
    /// knew of.
    pub(crate) async fn identify(
        &self,
        store: &dyn CredentialStore,
    ) -> Result<Option<StoreId>, StoreError> {
        // A UUID keeps to the rule of identities.
        let Ok(fresh) = StoreId::new(EventId::random(&*self.entropy).as_str()) else {
            return Ok(None);
        };
        let found = store.identify(&fresh).await?;
        Ok(found.filter(|found| self.identities.note(store.track(), found)))
    }
}
