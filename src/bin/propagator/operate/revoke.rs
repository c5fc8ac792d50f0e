//! `propagator revoke`

use clap::Args;
use hmac_propagator::id::{ClientId, CredentialKey, PeerQueue, Track};
use hmac_propagator::propagator::Revoke as Request;

use super::driver::Driver;
use super::follow::{Decided, Follow};
use super::operator::Operator;
use super::report::{self, Made};
use super::{Common, failure};
use crate::fault::{Exit, Fault};

/// Removes it from every target on record.
#[derive(Args)]
pub(crate) struct Revoke {
    /// The client.
    client: ClientId,
    /// A further peer to remove it from, also when no credential of that name is on record. May be
    /// given more than once.
    #[arg(long = "target", value_name = "NAME")]
    targets: Vec<PeerQueue>,
    /// `http` or `message`.
    #[arg(long, default_value_t)]
    track: Track,
    #[command(flatten)]
    follow: Follow,
    #[command(flatten)]
    common: Common,
}

impl Revoke {
    pub(crate) async fn run(self) -> Result<(), Fault> {
        let operator = Operator::open(&self.common).await?;
        self.refuse_a_slip(&operator).await?;
        let driver = Driver::start(&operator).await?;
        let done = self.decide(&operator, &driver).await;
        driver.close().await;
        done
    }

    /// A name that nobody knows is most likely mistyped, and the credential that was meant would live
    /// on.
    async fn refuse_a_slip(&self, operator: &Operator) -> Result<(), Fault> {
        let key = CredentialKey::new(self.track, self.client.clone());
        if self.targets.is_empty() && operator.credential(&key).await?.is_none() {
            let hint = "name the targets to remove it from with --target";
            return Err(
                Fault::new(format!("there is no credential {key}; {hint}")).exit(Exit::Unknown)
            );
        }
        Ok(())
    }

    async fn decide(&self, operator: &Operator, driver: &Driver) -> Result<(), Fault> {
        let request = Request::new(self.client.clone())
            .track(self.track)
            .targets(self.targets.iter().cloned());
        let revoked = driver.propagator.revoke(request).await;
        let revoked = revoked.map_err(|error| failure::of_library("cannot revoke", error))?;
        let key = CredentialKey::new(self.track, self.client.clone());
        let made = Made { key, op: "revoke", revision: revoked.revision, secret: None };
        if !operator.json {
            made.tell()?;
        }
        let decided = Decided { key: made.key.clone(), revision: Some(made.revision) };
        let followed = self.follow.follow(operator, driver, &[decided]).await;
        report::one(&made, followed, operator.json)
    }
}
