//! `propagator doctor`

mod broker;
mod finding;
mod refused;
mod rows;
mod stores;
mod targets;

use clap::Args;
use hmac_propagator::id::{ClientId, PeerQueue};
use hmac_propagator::management::sql::{SqlManagement, TargetInfo};
use hmac_propagator::state::RedisState;
use serde_json::{Value, json};

use self::finding::{Finding, State};
use super::Common;
use super::operator::{actor, config};
use super::table::{clean, table};
use crate::config::Config;
use crate::fault::{Exit, Fault};
use crate::output;
use crate::peer::{install_crypto, open_database, open_redis};

/// Looks at everything that a propagation needs, changes nothing, and ends with 1 when something is
/// wrong.
#[derive(Args)]
pub(crate) struct Doctor {
    /// Look at this client's rows only.
    client: Option<ClientId>,
    /// Most rows to look at.
    #[arg(long, default_value_t = 100)]
    limit: usize,
    #[command(flatten)]
    common: Common,
}

impl Doctor {
    pub(crate) async fn run(self) -> Result<(), Fault> {
        let config = config(&self.common)?;
        install_crypto();
        let findings = self.examine(&config).await?;
        let wrong = findings.iter().filter(|finding| finding.state == State::Wrong).count();
        if self.common.json {
            let list: Vec<Value> = findings.iter().map(Finding::json).collect();
            output::json(&json!({ "healthy": wrong == 0, "findings": list }))?;
        } else {
            tell(&findings)?;
        }
        match wrong {
            0 => Ok(()),
            1 => Err(Fault::new("1 thing is wrong").exit(Exit::Problems)),
            count => Err(Fault::new(format!("{count} things are wrong")).exit(Exit::Problems)),
        }
    }

    async fn examine(&self, config: &Config) -> Result<Vec<Finding>, Fault> {
        let mut findings = Vec::new();
        let redis: RedisState = open_redis(&config.redis_url)?;
        stores::redis(&redis, &mut findings).await;
        refused::look(&redis, &mut findings).await;
        let management = open(config, &mut findings).await;
        let directory = match &management {
            Some(management) => stores::database(management, &mut findings).await,
            None => Vec::new(),
        };
        let names: Vec<PeerQueue> = directory.iter().map(|target| target.queue.clone()).collect();
        let view = broker::look(config, &names, &mut findings).await;
        if let Some(management) = management {
            self.follow_up(&management, &directory, view.as_ref(), &mut findings).await;
            management.close().await;
        }
        Ok(findings)
    }

    async fn follow_up(
        &self,
        management: &SqlManagement,
        directory: &[TargetInfo],
        view: Option<&hmac_propagator::inspect::BrokerView>,
        findings: &mut Vec<Finding>,
    ) {
        for target in directory {
            targets::secret(management, &target.queue, findings).await;
            if let Some(view) = view {
                targets::queue(target, view, findings);
            }
        }
        rows::look(management, self.client.as_ref(), self.limit, view, findings).await;
    }
}

async fn open(config: &Config, findings: &mut Vec<Finding>) -> Option<SqlManagement> {
    let Some(database) = &config.database else {
        let what = "DATABASE_URL is not set: this peer is receive-only and has no rows";
        findings.push(Finding::skipped("database", what));
        return None;
    };
    match open_database(config, database, &actor()).await {
        Ok(management) => Some(management),
        Err(fault) => {
            let advice = "check DATABASE_URL and its keys, that the server runs, and that it takes connections from here";
            findings.push(Finding::wrong("database", fault.explained(), advice));
            None
        }
    }
}

fn tell(findings: &[Finding]) -> Result<(), Fault> {
    let rows = findings.iter().map(|finding| {
        [
            finding.state.word().to_owned(),
            finding.check.to_owned(),
            finding.about(),
            finding.what.clone(),
        ]
    });
    output::line(&table(["RESULT", "CHECK", "OF", "FOUND"], rows.collect()))?;
    let advice = findings.iter().filter_map(|finding| Some((finding, finding.advice.as_ref()?)));
    for (finding, advice) in advice {
        let about = finding.subject.as_ref().map_or_else(String::new, |of| format!(" of {of}"));
        output::line(&clean(&format!("-> {}{about}: {advice}", finding.check)))?;
    }
    Ok(())
}
