//! Puts the client library's errors into words for logs and health reports.

use lapin::ErrorKind;

/// What went wrong, in the broker's words where there are any. Never holds a body or a password:
/// the library's errors carry none.
pub(super) fn describe(error: &lapin::Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(error) => error.get_message().to_string(),
        ErrorKind::IOError(error) => error.to_string(),
        _ => error.to_string(),
    }
}

/// The broker's code for an error that closed one channel and left the connection alone.
pub(super) fn channel_error_code(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::ProtocolError(cause) if error.is_amqp_soft_error() => Some(cause.get_id()),
        _ => None,
    }
}
