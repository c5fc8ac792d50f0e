//! What the library's errors mean to the caller of the command.

use hmac_propagator::error::{Error, ErrorKind};
use hmac_propagator::management::sql::OperatorError;

use crate::fault::{Exit, Fault};
use crate::peer::database_fault;

/// An error of a driving call.
pub(super) fn of_library(message: &str, error: Error) -> Fault {
    let exit = match error.kind() {
        ErrorKind::UnknownClient | ErrorKind::ClientNotFound => Exit::Unknown,
        ErrorKind::Superseded => Exit::Refused,
        ErrorKind::Store | ErrorKind::Management | ErrorKind::Broker | ErrorKind::Closed => {
            Exit::Unreachable
        }
        ErrorKind::Internal => Exit::Problems,
        _ => Exit::Usage,
    };
    Fault::because(message, error).exit(exit)
}

/// An error of an operator's call.
pub(super) fn of_operator(message: &str, error: OperatorError) -> Fault {
    let exit = match error {
        OperatorError::Database(error) => return database_fault(message, error),
        OperatorError::UnknownTarget(_)
        | OperatorError::UnknownCredential(_)
        | OperatorError::NoSuchRow { .. } => Exit::Unknown,
        _ => Exit::Refused,
    };
    Fault::because(message, error).exit(exit)
}
