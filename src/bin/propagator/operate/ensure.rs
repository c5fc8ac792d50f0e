//! `propagator ensure`

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use hmac_propagator::id::{ClientId, CredentialKey, PeerQueue, Track};
use hmac_propagator::management::sql::RotationPolicy;
use hmac_propagator::propagator::{Ensure as Request, EnsureOp};
use hmac_propagator::store::{AllowedIps, Expiry};

use super::driver::Driver;
use super::follow::{Decided, Follow};
use super::operator::{Operator, now_ms};
use super::report::{self, Made};
use super::secret::{Chosen, NewSecret};
use super::{Common, failure};
use crate::fault::Fault;

/// Gives the client a secret, from a file, from CLIENT_SECRET, or generated and printed once.
#[derive(Args)]
pub(crate) struct Ensure {
    /// The client.
    client: ClientId,
    /// A peer that is to hold it, besides those that do already. May be given more than once.
    #[arg(long = "target", value_name = "NAME")]
    targets: Vec<PeerQueue>,
    /// `http` or `message`.
    #[arg(long, default_value_t)]
    track: Track,
    /// An address or block that may use it. May be given more than once. Default: as it is.
    #[arg(long = "allow-ip", value_name = "RULE")]
    allowed_ips: Vec<String>,
    /// Let every address use it again.
    #[arg(long, conflicts_with = "allowed_ips")]
    allow_any_ip: bool,
    /// When it expires: a time as 2030-01-31T12:00:00Z, a duration from now as 90d, or never.
    /// Default: as it is.
    #[arg(long, value_name = "WHEN", value_parser = expiry)]
    expires: Option<Expiry>,
    /// How often it is to get a new secret, as 30d; or never. Default: as it is.
    #[arg(long, value_name = "DURATION", value_parser = policy)]
    rotate_after: Option<Policy>,
    #[command(flatten)]
    secret: NewSecret,
    #[command(flatten)]
    follow: Follow,
    #[command(flatten)]
    common: Common,
}

#[derive(Clone, Copy)]
struct Policy(Option<RotationPolicy>);

impl Ensure {
    pub(crate) async fn run(self) -> Result<(), Fault> {
        let key = CredentialKey::new(self.track, self.client.clone());
        let Chosen { secret, shown } = self.secret.choose()?;
        let mut request = Request::new(self.client.clone(), secret)
            .track(self.track)
            .targets(self.targets.iter().cloned());
        if let Some(rules) = self.allow_list()? {
            request = request.allowed_ips(rules);
        }
        if let Some(expiry) = self.expires {
            request = request.expires_at(expiry);
        }
        let operator = Operator::open(&self.common).await?;
        let driver = Driver::start(&operator).await?;
        let done = self.decide(&operator, &driver, request, Made::of(key, shown)).await;
        driver.close().await;
        done
    }

    async fn decide(
        &self,
        operator: &Operator,
        driver: &Driver,
        request: Request,
        made: impl FnOnce(&'static str, hmac_propagator::id::Revision) -> Made,
    ) -> Result<(), Fault> {
        let ensured = driver.propagator.ensure(request).await;
        let ensured = ensured.map_err(|error| failure::of_library("cannot ensure", error))?;
        let op = match ensured.op {
            EnsureOp::Create => "create",
            EnsureOp::Update => "update",
        };
        let made = made(op, ensured.revision);
        if !operator.json {
            made.tell()?;
        }
        let policy = self.set_policy(operator, &made.key).await;
        let decided = Decided { key: made.key.clone(), revision: Some(made.revision) };
        let followed = self.follow.follow(operator, driver, &[decided]).await;
        report::one(&made, followed, operator.json)?;
        policy
    }

    async fn set_policy(&self, operator: &Operator, key: &CredentialKey) -> Result<(), Fault> {
        let Some(Policy(policy)) = self.rotate_after else { return Ok(()) };
        let set = operator.management.set_rotation_policy(key, policy).await;
        set.map_err(|error| {
            failure::of_operator("ensured, but the rotation policy is not set", error)
        })
    }

    fn allow_list(&self) -> Result<Option<AllowedIps>, Fault> {
        if self.allow_any_ip {
            return Ok(Some(AllowedIps::default()));
        }
        if self.allowed_ips.is_empty() {
            return Ok(None);
        }
        let parsed = AllowedIps::parse(&self.allowed_ips);
        parsed.map(Some).map_err(|error| Fault::because("cannot use --allow-ip", error))
    }
}

impl Made {
    fn of(
        key: CredentialKey,
        secret: Option<hmac_propagator::secret::ClientSecret>,
    ) -> impl FnOnce(&'static str, hmac_propagator::id::Revision) -> Self {
        move |op, revision| Self { key, op, revision, secret }
    }
}

fn expiry(text: &str) -> Result<Expiry, String> {
    if text == "never" {
        return Ok(Expiry::Never);
    }
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let since = |at: SystemTime| at.duration_since(UNIX_EPOCH).ok().map(ms);
    let at = humantime::parse_rfc3339(text).ok().and_then(since);
    let at =
        at.or_else(|| Some(now_ms().saturating_add(ms(humantime::parse_duration(text).ok()?))));
    at.map(Expiry::At).ok_or_else(|| {
        "expected a time as 2030-01-31T12:00:00Z, a duration as 90d, or never".into()
    })
}

fn policy(text: &str) -> Result<Policy, String> {
    if text == "never" {
        return Ok(Policy(None));
    }
    let after = humantime::parse_duration(text).ok().filter(|after| !after.is_zero());
    let after = after.ok_or_else(|| "expected a duration as 30d, or never".to_owned())?;
    Ok(Policy(Some(RotationPolicy::after(after))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_is_a_time_a_duration_or_never() {
        assert_eq!(expiry("never"), Ok(Expiry::Never));
        assert_eq!(expiry("1970-01-01T00:00:01Z"), Ok(Expiry::At(1000)));
        assert!(matches!(expiry("90d"), Ok(Expiry::At(at)) if at > now_ms()));
        assert!(expiry("tomorrow").is_err());
    }
}
