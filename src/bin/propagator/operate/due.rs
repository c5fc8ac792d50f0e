//! `propagator due`

use std::time::Duration;

use clap::Args;
use hmac_propagator::management::sql::DueRotation;
use serde_json::{Value, json};

use super::operator::{Operator, now_ms};
use super::table::{from_now, length, table};
use super::{Common, failure};
use crate::fault::{Exit, Fault};
use crate::output;

/// Those first that have waited longest. `propagator rotate --all-due` rotates them.
#[derive(Args)]
pub(crate) struct Due {
    /// Only those that have been due for longer than this, and end with 1 when there is one: for an
    /// alert.
    #[arg(long, value_name = "DURATION", num_args = 0..=1, default_missing_value = "0s", value_parser = humantime::parse_duration)]
    overdue: Option<Duration>,
    /// Most credentials.
    #[arg(long, default_value_t = 1000)]
    limit: u32,
    #[command(flatten)]
    common: Common,
}

impl Due {
    pub(crate) async fn run(self) -> Result<(), Fault> {
        let operator = Operator::open(&self.common).await?;
        let by = self.overdue.unwrap_or(Duration::ZERO);
        let due = operator.management.overdue_rotations(now_ms(), by, self.limit).await;
        let due = due.map_err(|error| failure::of_operator("cannot read what is due", error))?;
        if operator.json {
            let due: Vec<Value> = due.iter().map(due_json).collect();
            output::json(&json!({ "due": due }))?;
        } else {
            let head = ["CREDENTIAL", "ROTATED", "OVERDUE"];
            output::line(&table(head, due.iter().map(row).collect()))?;
        }
        match (self.overdue, due.len()) {
            (None, _) | (Some(_), 0) => Ok(()),
            (Some(_), count) => Err(Fault::new(format!("{count} overdue")).exit(Exit::Problems)),
        }
    }
}

fn overdue_ms(due: &DueRotation) -> u64 {
    u64::try_from(due.overdue.as_millis()).unwrap_or(u64::MAX)
}

fn due_json(due: &DueRotation) -> Value {
    json!({
        "clientId": due.key.client_id,
        "track": due.key.track,
        "rotatedAt": due.rotated_at_ms,
        "dueAt": due.due_at_ms,
        "overdueMs": overdue_ms(due),
    })
}

fn row(due: &DueRotation) -> [String; 3] {
    let rotated = from_now(Some(due.rotated_at_ms), now_ms());
    [due.key.to_string(), rotated, length(overdue_ms(due))]
}
