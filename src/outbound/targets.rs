//! Which targets' queues are known to exist.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};

use crate::id::PeerQueue;
use crate::transport::{DeclareError, QueueDepth, Transport};

/// Queues that were declared and have routed since. Grows with the number of targets.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeclaredTargets {
    declared: Arc<Mutex<HashSet<PeerQueue>>>,
}

impl DeclaredTargets {
    fn contains(&self, queue: &PeerQueue) -> bool {
        self.declared.lock().unwrap_or_else(PoisonError::into_inner).contains(queue)
    }

    fn insert(&self, queue: &PeerQueue) {
        self.declared.lock().unwrap_or_else(PoisonError::into_inner).insert(queue.clone());
    }

    /// The broker said that there is no such queue.
    fn remove(&self, queue: &PeerQueue) {
        self.declared.lock().unwrap_or_else(PoisonError::into_inner).remove(queue);
    }
}

type Declaration = Shared<BoxFuture<'static, Result<QueueDepth, DeclareError>>>;

/// What one sync learns of its targets' queues. Each is declared at most once, and all its rows share
/// the answer, so that a target that errs or hangs costs one declaration and not one per row.
#[derive(Clone)]
pub(super) struct Declarations {
    transport: Arc<dyn Transport>,
    known: DeclaredTargets,
    started: Arc<Mutex<HashMap<PeerQueue, Declaration>>>,
    /// Queues for which the broker did not confirm.
    stalled: Arc<Mutex<HashSet<PeerQueue>>>,
}

impl Declarations {
    pub(super) fn new(transport: Arc<dyn Transport>, known: DeclaredTargets) -> Self {
        Self { transport, known, started: Arc::default(), stalled: Arc::default() }
    }

    /// Makes sure that the queue exists.
    pub(super) async fn ensure(&self, queue: &PeerQueue) -> Result<(), DeclareError> {
        if self.known.contains(queue) {
            return Ok(());
        }
        self.depth(queue).await.map(drop)
    }

    /// What stood in the queue when this sync first looked.
    pub(super) async fn depth(&self, queue: &PeerQueue) -> Result<QueueDepth, DeclareError> {
        let declaration = {
            let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
            started.entry(queue.clone()).or_insert_with(|| self.declare(queue)).clone()
        };
        declaration.await
    }

    /// The queue was deleted after it was declared: declares it again.
    pub(super) async fn renew(&self, queue: &PeerQueue) -> Result<(), DeclareError> {
        self.known.remove(queue);
        // Anew, past the shared answer that is outdated.
        self.declare(queue).await.map(drop)
    }

    /// The broker did not confirm for this queue: this sync waits for it no more.
    pub(super) fn stalled(&self, queue: &PeerQueue) {
        self.stalled.lock().unwrap_or_else(PoisonError::into_inner).insert(queue.clone());
    }

    /// Whether the broker has failed to confirm for this queue.
    pub(super) fn has_stalled(&self, queue: &PeerQueue) -> bool {
        self.stalled.lock().unwrap_or_else(PoisonError::into_inner).contains(queue)
    }

    fn declare(&self, queue: &PeerQueue) -> Declaration {
        let Self { transport, known, .. } = self.clone();
        let queue = queue.clone();
        async move {
            let depth = transport.declare(&queue).await?;
            known.insert(&queue);
            Ok(depth)
        }
        .boxed()
        .shared()
    }
}
