//! `propagator sync`

use clap::Args;
use serde_json::{Map, Value};

use super::Common;
use super::driver::Driver;
use super::follow::{Decided, Follow};
use super::operator::Operator;
use super::report;
use super::show::Standing;
use crate::fault::Fault;
use crate::output;

/// Most credentials that are waited for.
const MOST: usize = 10_000;

/// Safe to call at any time, also beside a running `serve`: each event is sent by one of them.
#[derive(Args)]
pub(crate) struct Sync {
    #[command(flatten)]
    follow: Follow,
    #[command(flatten)]
    common: Common,
}

impl Sync {
    pub(crate) async fn run(self) -> Result<(), Fault> {
        let operator = Operator::open(&self.common).await?;
        let decided = self.open(&operator).await?;
        let driver = Driver::start(&operator).await?;
        let followed = self.follow.follow(&operator, &driver, &decided).await;
        driver.close().await;
        if operator.json {
            let mut fields = Map::new();
            let infos = followed.infos.iter().map(super::show::credential_json);
            fields.insert("credentials".into(), infos.collect());
            report::ending(&mut fields, &followed);
            output::json(&Value::Object(fields))?;
        } else {
            report::tell_ending(&followed)?;
        }
        followed.verdict()
    }

    /// What is open at the start, when its end is waited for.
    async fn open(&self, operator: &Operator) -> Result<Vec<Decided>, Fault> {
        if !self.follow.waits() {
            return Ok(Vec::new());
        }
        let open = operator.credentials(MOST, |info| Standing::of(info) == Standing::Open).await?.0;
        Ok(open.into_iter().map(|info| Decided { key: info.key, revision: None }).collect())
    }
}
