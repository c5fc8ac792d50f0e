//! What a driving command prints.

use hmac_propagator::id::{CredentialKey, Revision};
use hmac_propagator::secret::ClientSecret;
use serde_json::{Map, Value, json};

use super::follow::Followed;
use super::operator::now_ms;
use super::show::{targets_json, targets_table};
use crate::fault::Fault;
use crate::output;

/// One decision that was made.
pub(super) struct Made {
    pub(super) key: CredentialKey,
    pub(super) op: &'static str,
    pub(super) revision: Revision,
    /// A generated secret, to be printed this one time.
    pub(super) secret: Option<ClientSecret>,
}

impl Made {
    /// Printed as soon as it is made: what comes after may take long, or fail.
    pub(super) fn tell(&self) -> Result<(), Fault> {
        output::line(&format!("{} {}, revision {}", self.op, self.key, self.revision.get()))?;
        match &self.secret {
            Some(secret) => {
                // Printing it is what was asked for; it is stored nowhere.
                output::line(&format!("secret (shown this once): {}", secret.expose()))
            }
            None => Ok(()),
        }
    }

    /// The same with where its targets stand.
    pub(super) fn json(&self, followed: &Followed) -> Map<String, Value> {
        let info = followed.infos.iter().find(|info| info.key == self.key);
        let mut fields = Map::new();
        fields.insert("clientId".into(), json!(self.key.client_id));
        fields.insert("track".into(), json!(self.key.track));
        fields.insert("op".into(), self.op.into());
        fields.insert("revision".into(), self.revision.get().into());
        if let Some(secret) = &self.secret {
            fields.insert("secret".into(), secret.expose().into());
        }
        fields.insert("targets".into(), info.map_or_else(|| json!([]), targets_json));
        fields
    }
}

/// What all documents of driving commands end with.
pub(super) fn ending(fields: &mut Map<String, Value>, followed: &Followed) {
    fields.insert("sync".into(), followed.sent_json());
    fields.insert("complete".into(), followed.is_complete().into());
    fields.insert("wait".into(), followed.end_json());
}

/// The same for people.
pub(super) fn tell_ending(followed: &Followed) -> Result<(), Fault> {
    if let Some(summary) = followed.summary() {
        let mut words = format!("sent {}", summary.targets_published);
        for (count, what) in [
            (summary.targets_waiting, "awaiting their answer"),
            (summary.targets_retrying, "to be tried again"),
            (summary.rows_unusable, "unusable"),
            (summary.rows_outdated, "outdated"),
        ] {
            if count > 0 {
                words.push_str(&format!(", {count} {what}"));
            }
        }
        output::line(&words)?;
    }
    if followed.infos.iter().any(|info| !info.targets.is_empty()) {
        output::line(&targets_table(&followed.infos, now_ms()))?;
    }
    Ok(())
}

/// The report of one decision.
pub(super) fn one(made: &Made, followed: Followed, as_json: bool) -> Result<(), Fault> {
    if as_json {
        let mut fields = made.json(&followed);
        ending(&mut fields, &followed);
        output::json(&Value::Object(fields))?;
    } else {
        tell_ending(&followed)?;
    }
    followed.verdict()
}
