//! `propagator rotate`

use clap::Args;
use hmac_propagator::id::{ClientId, CredentialKey, Track};
use hmac_propagator::propagator::Rotate as Request;
use hmac_propagator::secret::ClientSecret;
use serde_json::{Map, Value, json};

use super::driver::Driver;
use super::follow::{Decided, Follow};
use super::operator::{Operator, now_ms};
use super::report::{self, Made};
use super::secret::{Chosen, NewSecret};
use super::{Common, failure};
use crate::fault::{Exit, Fault};
use crate::output;

/// Allow-list, expiry and targets stay. The secret comes from a file, from CLIENT_SECRET, or is
/// generated and printed once.
#[derive(Args)]
pub(crate) struct Rotate {
    /// The client.
    #[arg(required_unless_present = "all_due")]
    client: Option<ClientId>,
    /// `http` or `message`.
    #[arg(long, default_value_t, conflicts_with = "all_due")]
    track: Track,
    /// Rotate all credentials that are due, each with a generated secret.
    #[arg(long, conflicts_with_all = ["client", "secret_file"])]
    all_due: bool,
    /// Most credentials to rotate with --all-due, those first that have waited longest.
    #[arg(long, default_value_t = 1000, requires = "all_due")]
    limit: u32,
    #[command(flatten)]
    secret: NewSecret,
    #[command(flatten)]
    follow: Follow,
    #[command(flatten)]
    common: Common,
}

impl Rotate {
    pub(crate) async fn run(self) -> Result<(), Fault> {
        match self.client.clone() {
            Some(client) => self.one(CredentialKey::new(self.track, client)).await,
            None => self.all_due().await,
        }
    }

    async fn one(&self, key: CredentialKey) -> Result<(), Fault> {
        let Chosen { secret, shown } = self.secret.choose()?;
        let operator = Operator::open(&self.common).await?;
        let driver = Driver::start(&operator).await?;
        let done = async {
            let made = rotate(&driver, key, secret, shown).await?;
            if !operator.json {
                made.tell()?;
            }
            let followed = self.follow.follow(&operator, &driver, &[made.decided()]).await;
            report::one(&made, followed, operator.json)
        }
        .await;
        driver.close().await;
        done
    }

    async fn all_due(&self) -> Result<(), Fault> {
        let operator = Operator::open(&self.common).await?;
        let due = operator.management.due_rotations(now_ms(), self.limit).await;
        let due = due.map_err(|error| failure::of_operator("cannot read what is due", error))?;
        let driver = Driver::start(&operator).await?;
        let keys = due.into_iter().map(|due| due.key).collect();
        let done = self.rotate_all(&operator, &driver, keys).await;
        driver.close().await;
        done
    }

    /// One that fails does not keep the others from being rotated.
    async fn rotate_all(
        &self,
        operator: &Operator,
        driver: &Driver,
        keys: Vec<CredentialKey>,
    ) -> Result<(), Fault> {
        let (mut made, mut failed) = (Vec::new(), Vec::new());
        for key in keys {
            let Chosen { secret, shown } = self.secret.generated()?;
            match rotate(driver, key.clone(), secret, shown).await {
                Ok(one) => {
                    if !operator.json {
                        one.tell()?;
                    }
                    made.push(one);
                }
                Err(fault) => failed.push((key, fault)),
            }
        }
        let decided: Vec<Decided> = made.iter().map(Made::decided).collect();
        let followed = self.follow.follow(operator, driver, &decided).await;
        if operator.json {
            let rotated = made.iter().map(|one| Value::Object(one.json(&followed)));
            let mut fields = Map::new();
            fields.insert("rotated".into(), rotated.collect());
            fields.insert("failed".into(), failed.iter().map(failure_json).collect());
            report::ending(&mut fields, &followed);
            output::json(&Value::Object(fields))?;
        } else {
            output::line(&format!("{} rotated, {} failed", made.len(), failed.len()))?;
            for (key, fault) in &failed {
                output::line(&format!("{key}: {}", fault.explained()))?;
            }
            report::tell_ending(&followed)?;
        }
        followed.verdict()?;
        match failed.len() {
            0 => Ok(()),
            count => Err(Fault::new(format!("{count} could not be rotated")).exit(Exit::Problems)),
        }
    }
}

impl Made {
    fn decided(&self) -> Decided {
        Decided { key: self.key.clone(), revision: Some(self.revision) }
    }
}

fn failure_json((key, fault): &(CredentialKey, Fault)) -> Value {
    json!({ "clientId": key.client_id, "track": key.track, "error": fault.explained() })
}

async fn rotate(
    driver: &Driver,
    key: CredentialKey,
    secret: ClientSecret,
    shown: Option<ClientSecret>,
) -> Result<Made, Fault> {
    let request = Request::new(key.client_id.clone(), secret).track(key.track);
    let rotated = driver.propagator.rotate(request).await;
    let rotated = rotated.map_err(|error| failure::of_library("cannot rotate", error))?;
    Ok(Made { key, op: "rotate", revision: rotated.revision, secret: shown })
}
