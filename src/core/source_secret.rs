//! What messages to a source are signed with.

use super::Core;
use crate::id::PeerQueue;
use crate::management::ManagementError;
use crate::secret::PropagationSecret;

impl Core {
    /// The secret to sign with: from the configuration, else from the management side, else none. With
    /// `last` what was known before is good enough.
    pub(crate) async fn secret_of_source(
        &self,
        source: &PeerQueue,
        last: bool,
    ) -> Result<Option<PropagationSecret>, ManagementError> {
        if let Some(secret) = self.source_secrets.get(source) {
            return Ok(Some(secret.clone()));
        }
        let Some(management) = &self.management else { return Ok(None) };
        if let Some(secret) = self.known_sources.get(source, self.clock.now_ms()) {
            return Ok(secret);
        }
        let secret = match management.fetch_source_propagation_secret(source).await {
            Ok(secret) => secret,
            Err(error) if error.is_transient() => {
                let outdated = self.known_sources.outdated(source).filter(|_| last);
                return outdated.ok_or(error);
            }
            // Refused for good: better an unsigned message than none.
            Err(_) => None,
        };
        self.known_sources.put(source, secret.clone(), self.clock.now_ms());
        Ok(secret)
    }
}
