//! What a failure of the database means: try again here, let the library try again, or give up.

use std::fmt;

use super::operators::OperatorError;
use crate::management::ManagementError;

/// Why a transaction did not come to its end.
#[derive(Debug)]
pub(super) enum Failure {
    /// It lost against another transaction (deadlock, serialisation, both created the same row):
    /// the same transaction from its start will do.
    Lost(ManagementError),
    /// What was asked for cannot be.
    Refused(Box<OperatorError>),
    /// Anything else.
    Final(ManagementError),
}

/// What a driver says, without the values that some drivers add: a row that breaks a constraint
/// may have secrets in it.
#[derive(Debug)]
struct Said(String);

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Said {}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Class {
    Lost,
    Transient,
    Permanent,
}

impl From<ManagementError> for Failure {
    fn from(error: ManagementError) -> Self {
        Self::Final(error)
    }
}

impl From<Failure> for ManagementError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Lost(error) | Failure::Final(error) => error,
            Failure::Refused(refusal) => Self::permanent(refusal.to_string()),
        }
    }
}

impl From<OperatorError> for Failure {
    fn from(refusal: OperatorError) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

impl From<Failure> for OperatorError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refusal) => *refusal,
            other => Self::Database(other.into()),
        }
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        let (class, said) = match &error {
            sqlx::Error::Database(refused) => {
                let code = refused.code();
                let code = code.as_deref().unwrap_or("without a code");
                // MariaDB's own numbers say more than the standard's states.
                let number = refused
                    .try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()
                    .map(sqlx::mysql::MySqlDatabaseError::number);
                let class = match (number, refused.is_unique_violation()) {
                    (_, true) => Class::Lost,
                    (Some(number), _) => of_mariadb(number),
                    (None, _)
                        if refused
                            .try_downcast_ref::<sqlx::postgres::PgDatabaseError>()
                            .is_some() =>
                    {
                        of_postgres(code)
                    }
                    (None, _) => of_sqlite(code),
                };
                (class, format!("{} (code {code})", refused.message()))
            }
            sqlx::Error::PoolTimedOut => (
                Class::Transient,
                "no connection in time: the server is away or all connections are in use".into(),
            ),
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::WorkerCrashed => (Class::Transient, error.to_string()),
            _ => (Class::Permanent, error.to_string()),
        };
        let said = Said(said);
        match class {
            Class::Lost => Self::Lost(
                ManagementError::transient("the database kept refusing a transaction")
                    .with_source(said),
            ),
            Class::Transient => Self::Final(
                ManagementError::transient("the database cannot be used now").with_source(said),
            ),
            Class::Permanent => Self::Final(
                ManagementError::permanent("the database refused a statement").with_source(said),
            ),
        }
    }
}

/// By SQLSTATE.
fn of_postgres(code: &str) -> Class {
    match code {
        // Serialisation failure, deadlock.
        "40001" | "40P01" => Class::Lost,
        // Lock not available, read-only (a server that is taking over).
        "55P03" | "25006" => Class::Transient,
        // Connection, insufficient resources (disk full is 53100), operator intervention, system.
        _ if ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class)) => {
            Class::Transient
        }
        _ => Class::Permanent,
    }
}

fn of_mariadb(number: u16) -> Class {
    match number {
        // Lock wait timeout, deadlock.
        1205 | 1213 => Class::Lost,
        // Disk full, no such space in the table, too many connections, out of memory, shutting
        // down, aborted, read-only, interrupted, timed out.
        1020
        | 1021
        | 1026
        | 1030
        | 1037
        | 1038
        | 1040
        | 1041
        | 1053
        | 1077
        | 1114
        | 1152..=1161
        | 1184
        | 1203
        | 1290
        | 1317
        | 1836
        | 1927
        | 1969
        | 2006
        | 2013 => Class::Transient,
        _ => Class::Permanent,
    }
}

/// By primary result code, which is the last byte of the extended one.
fn of_sqlite(code: &str) -> Class {
    match code.parse::<u32>().map(|code| code & 0xff) {
        // Busy, locked, out of memory, read-only, interrupted, I/O, full, cannot open, protocol.
        Ok(5 | 6 | 7 | 8 | 9 | 10 | 13 | 14 | 15) => Class::Transient,
        _ => Class::Permanent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_transient_everywhere() {
        assert_eq!(of_postgres("53100"), Class::Transient);
        assert_eq!(of_mariadb(1021), Class::Transient);
        assert_eq!(of_sqlite("13"), Class::Transient);
    }

    #[test]
    fn deadlocks_are_lost_and_syntax_errors_are_permanent() {
        assert_eq!(of_postgres("40P01"), Class::Lost);
        assert_eq!(of_mariadb(1213), Class::Lost);
        assert_eq!(of_postgres("42601"), Class::Permanent);
        assert_eq!(of_mariadb(1064), Class::Permanent);
        assert_eq!(of_sqlite("1"), Class::Permanent);
    }

    #[test]
    fn an_extended_code_counts_as_its_primary_one() {
        assert_eq!(of_sqlite("517"), Class::Transient);
        assert_eq!(of_sqlite("787"), Class::Permanent);
    }
}
