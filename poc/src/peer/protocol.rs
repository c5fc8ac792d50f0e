//! What operator and peer say to each other.

use serde::{Deserialize, Serialize};

/// The first line that a peer reads. Holds secrets, so it cannot be printed.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Config {
    pub(crate) queue: String,
    pub(crate) propagation_secret: String,
    /// What this peer hashes plain secrets with. Peers do not share it.
    pub(crate) pepper: String,
    pub(crate) broker: Broker,
    pub(crate) redis_url: String,
    pub(crate) mode: Mode,
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Broker {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) vhost: String,
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum Mode {
    /// With a management side in memory.
    Full { directory: Vec<Known> },
    /// Without one. It signs its answers to the sources that it is given, and to no other.
    ReceiveOnly { sources: Vec<Known> },
}

/// Another peer and its propagation secret.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Known {
    pub(crate) queue: String,
    pub(crate) secret: String,
    /// Whether it cannot sign its answers.
    pub(crate) receive_only: bool,
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum Order {
    Ensure {
        client: String,
        secret: String,
        targets: Vec<String>,
    },
    Rotate {
        client: String,
        secret: String,
    },
    Revoke {
        client: String,
    },
    Sync,
    Rows {
        client: String,
    },
    /// Wait until no target of a revision is outstanding.
    AwaitPropagated {
        client: String,
        revision: u64,
    },
    Close,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    Ready,
    Decided {
        revision: u64,
    },
    Synced(SyncReport),
    Rows(Vec<RowReport>),
    Propagated(Propagated),
    /// The library's error: its code and its words.
    Failed {
        code: String,
        message: String,
    },
    Closed,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SyncReport {
    pub(crate) read: u64,
    pub(crate) published: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RowReport {
    pub(crate) target: String,
    pub(crate) revision: u64,
    pub(crate) status: String,
    pub(crate) proof: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Propagated {
    pub(crate) revision: u64,
    pub(crate) outcome: String,
}
