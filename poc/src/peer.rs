//! A peer: a process of its own that embeds the library, and the operator's hold on it.
//!
//! Orders go in on its standard input and reports come out on its standard output, one JSON object
//! per line. Secrets travel on that pipe only, never as arguments or in the environment.

mod process;
mod protocol;
mod service;

pub(crate) use process::PeerProcess;
pub(crate) use protocol::{
    Broker, Config, Known, Mode, Order, Propagated, Report, RowReport, SyncReport,
};
pub(crate) use service::serve;
