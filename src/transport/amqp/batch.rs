//! A batch: messages that go out on one channel together, and what is known about each.
//!
//! The client library attaches returned messages to the wrong confirms when several are in flight;
//! only the id inside a returned message is right. A return comes before the confirm of its own
//! message and waits in line; each confirm hands out the first return of the line, if there is one.
//!
//! An ack means success unless the message's own return still waits in that line. It cannot wait
//! there if all returns seen so far belong to messages that are confirmed themselves. For suppose
//! that it does. Since the line was last empty, every confirm has handed out one return. Among them
//! were the confirms of all messages whose return was handed out since then, and that of the acked
//! message too: one more than there were returns handed out.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use lapin::options::BasicPublishOptions;
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation};

use super::publisher::Request;
use super::quiet::silenced;
use crate::transport::PublishError;

const PERSISTENT: u8 = 2;

/// Messages in flight on a channel that carried no others which are not confirmed.
pub(super) struct Batch {
    /// `None` once answered.
    requests: Vec<Option<Request>>,
    outcomes: Vec<Outcome>,
    first_id: u64,
    flights: FuturesUnordered<Flight>,
    written: Arc<AtomicUsize>,
    /// Stays open until nobody waits for the batch.
    _channel: Channel,
}

/// Ends with the index of a message and its outcome.
type Flight = BoxFuture<'static, (usize, Outcome)>;

/// What became of one publish.
#[derive(Debug, Default)]
struct Outcome {
    /// The broker's decision: true for ack. `None`: not known, or it will not come.
    confirmed: Option<bool>,
    /// The id of the returned message that came with the confirm, seldom this publish's own.
    returned: Option<u64>,
    error: Option<lapin::Error>,
}

impl Batch {
    /// Publishes when polled. The ids count up from `first_id`.
    pub(super) fn publish(channel: &Channel, requests: Vec<Request>, first_id: u64) -> Self {
        let written = Arc::<AtomicUsize>::default();
        let flight = |(index, (request, id)): (usize, (&Request, u64))| {
            let (queue, body) = (request.queue.clone(), request.body.clone());
            let published = publish_one(channel.clone(), queue, body, id, written.clone());
            published.map(move |outcome| (index, outcome)).boxed()
        };
        let flights = requests.iter().zip(first_id..).enumerate().map(flight).collect();
        Self {
            outcomes: requests.iter().map(|_| Outcome::default()).collect(),
            requests: requests.into_iter().map(Some).collect(),
            first_id,
            flights,
            written,
            _channel: channel.clone(),
        }
    }

    /// Waits for more outcomes. False: all are there.
    ///
    /// # Cancellation
    /// Nothing is lost.
    pub(super) async fn news(&mut self) -> bool {
        let Some((index, outcome)) = silenced(self.flights.next()).await else {
            return false;
        };
        self.outcomes[index] = outcome;
        while let Some(Some((index, outcome))) = silenced(self.flights.next()).now_or_never() {
            self.outcomes[index] = outcome;
        }
        true
    }

    /// Answers the callers whose message's fate is certain.
    pub(super) fn settle(&mut self) {
        self.look_at_all();
        let fates = fates(self.first_id, &self.outcomes);
        for (request, fate) in self.requests.iter_mut().zip(fates) {
            if let Some(fate) = fate
                && let Some(request) = request.take()
            {
                // A caller who has gone needs no answer.
                drop(request.reply.send(fate));
            }
        }
    }

    /// Those that are not answered, in their order.
    pub(super) fn into_requests(self) -> Vec<Request> {
        self.requests.into_iter().flatten().collect()
    }

    /// Whether nobody waits for an answer any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.requests.iter().flatten().all(|request| request.reply.is_closed())
    }

    /// The queues whose confirm is missing.
    pub(super) fn unconfirmed(&self) -> impl Iterator<Item = &ShortString> {
        let entries = self.requests.iter().zip(&self.outcomes);
        let unconfirmed = entries.filter(|(_, outcome)| outcome.confirmed.is_none());
        unconfirmed.filter_map(|(request, _)| Some(&request.as_ref()?.queue))
    }

    /// The queues of those that are not answered.
    pub(super) fn queues(&self) -> impl Iterator<Item = &ShortString> {
        self.requests.iter().flatten().map(|request| &request.queue)
    }

    /// What ended the channel, or more.
    pub(super) fn error(&self) -> Option<lapin::Error> {
        self.outcomes.iter().find_map(|outcome| outcome.error.clone())
    }

    /// Tells whether all messages have left for the broker, also while the batch is busy.
    pub(super) fn written(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let (written, size) = (self.written.clone(), self.requests.len());
        move || written.load(Ordering::Relaxed) == size
    }

    /// Polls everything in flight until a whole round brings nothing new. What is known then is
    /// what was decided when that round began, with no gap: confirms arrive on another thread, and
    /// a later one that was seen without an earlier one would spoil the reasoning about returns.
    fn look_at_all(&mut self) {
        let mut flights: Vec<Flight> = std::mem::take(&mut self.flights).into_iter().collect();
        let mut before = usize::MAX;
        while flights.len() < before {
            before = flights.len();
            flights.retain_mut(|flight| match silenced(flight).now_or_never() {
                Some((index, outcome)) => {
                    self.outcomes[index] = outcome;
                    false
                }
                None => true,
            });
        }
        // Collected anew, all are polled once more by who waits next: no wake is lost.
        self.flights = flights.into_iter().collect();
    }
}

async fn publish_one(
    channel: Channel,
    queue: ShortString,
    body: Arc<Vec<u8>>,
    id: u64,
    written: Arc<AtomicUsize>,
) -> Outcome {
    confirmation(&channel, queue, &body, id, &written)
        .await
        .unwrap_or_else(|error| Outcome { error: Some(error), ..Outcome::default() })
}

async fn confirmation(
    channel: &Channel,
    queue: ShortString,
    body: &[u8],
    id: u64,
    written: &AtomicUsize,
) -> lapin::Result<Outcome> {
    let options = BasicPublishOptions { mandatory: true, immediate: false };
    let default_exchange = ShortString::default();
    let confirm =
        channel.basic_publish(default_exchange, queue, options, body, properties(id)).await?;
    written.fetch_add(1, Ordering::Relaxed);
    let confirmation = confirm.await?;
    let confirmed = match confirmation {
        Confirmation::Ack(_) => Some(true),
        Confirmation::Nack(_) => Some(false),
        // Cannot be on a channel with confirms; it would prove nothing.
        Confirmation::NotRequested => None,
    };
    let returned = confirmation.take_message().and_then(|message| {
        let id = message.properties.message_id().as_ref()?;
        id.as_str().parse().ok()
    });
    Ok(Outcome { confirmed, returned, error: None })
}

fn properties(id: u64) -> BasicProperties {
    BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_content_type("application/json".into())
        .with_headers(FieldTable::default())
        // Twenty digits at most.
        .with_message_id(id.to_string().into())
}

/// The fate of each message of a batch; `None` where it is not certain.
///
/// A return and a nack are certain in themselves. An ack is so when every returned message is
/// confirmed itself; until then the return of the acked message may wait behind theirs.
fn fates(first_id: u64, outcomes: &[Outcome]) -> Vec<Option<Result<(), PublishError>>> {
    let returned: HashSet<u64> = outcomes.iter().filter_map(|o| o.returned).collect();
    let confirmed = |id: &u64| {
        let index = id.checked_sub(first_id).and_then(|index| usize::try_from(index).ok());
        let outcome = index.and_then(|index| outcomes.get(index));
        outcome.is_some_and(|outcome| outcome.confirmed.is_some())
    };
    let acks_are_certain = returned.iter().all(confirmed);
    let fate = |(outcome, id): (&Outcome, u64)| match outcome.confirmed {
        _ if returned.contains(&id) => Some(Err(PublishError::Unroutable)),
        Some(false) => Some(Err(PublishError::Refused)),
        Some(true) if acks_are_certain => Some(Ok(())),
        Some(true) | None => None,
    };
    outcomes.iter().zip(first_id..).map(fate).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    fn outcome(confirmed: Option<bool>, returned: Option<u64>) -> Outcome {
        Outcome { confirmed, returned, error: None }
    }

    #[test]
    fn a_return_counts_for_the_id_it_names_and_not_for_the_confirm_it_came_with() {
        let outcomes =
            [outcome(Some(true), Some(12)), outcome(Some(true), None), outcome(Some(true), None)];
        let fates = fates(10, &outcomes);
        assert!(matches!(fates[0], Some(Ok(()))));
        assert!(matches!(fates[1], Some(Ok(()))));
        assert!(matches!(fates[2], Some(Err(PublishError::Unroutable))));
    }

    #[test]
    fn a_nack_is_a_refusal() {
        let fates = fates(0, &[outcome(Some(false), None), outcome(Some(true), None)]);
        assert!(matches!(fates[0], Some(Err(PublishError::Refused))));
        assert!(matches!(fates[1], Some(Ok(()))));
    }

    #[test]
    fn an_ack_proves_nothing_while_the_confirm_of_a_returned_message_is_missing() {
        let outcomes = [
            outcome(Some(true), None),
            outcome(None, None),
            outcome(Some(true), Some(3)),
            outcome(None, None),
        ];
        let fates = fates(0, &outcomes);
        assert!(fates[0].is_none());
        assert!(fates[1].is_none());
        assert!(fates[2].is_none());
        assert!(matches!(fates[3], Some(Err(PublishError::Unroutable))));
    }

    #[test]
    fn acks_are_certain_without_the_confirms_that_no_return_waits_for() {
        let outcomes = [
            outcome(Some(true), None),
            outcome(None, None),
            outcome(Some(true), Some(3)),
            outcome(Some(true), None),
        ];
        let fates = fates(0, &outcomes);
        assert!(matches!(fates[0], Some(Ok(()))));
        assert!(fates[1].is_none());
        assert!(matches!(fates[2], Some(Ok(()))));
        assert!(matches!(fates[3], Some(Err(PublishError::Unroutable))));
    }

    /// How the client library hands out returns.
    struct Library {
        line: VecDeque<u64>,
        outcomes: Vec<Outcome>,
    }

    impl Library {
        fn confirm(&mut self, index: usize) {
            self.outcomes[index] = outcome(Some(true), self.line.pop_front());
        }
    }

    proptest::proptest! {
        #[test]
        fn no_fate_that_counts_as_certain_is_wrong(
            unroutable in proptest::collection::vec(proptest::bool::ANY, 8),
            // Which message's return or confirm is next; of an unroutable one the return is first.
            steps in proptest::collection::vec(0_usize..8, 0..40),
        ) {
            let mut library = Library {
                line: VecDeque::new(),
                outcomes: (0..8).map(|_| Outcome::default()).collect(),
            };
            let mut returned = [false; 8];
            for index in steps {
                if library.outcomes[index].confirmed.is_some() {
                    continue;
                }
                if unroutable[index] && !returned[index] {
                    returned[index] = true;
                    library.line.push_back(index as u64);
                } else {
                    library.confirm(index);
                }
                for (fate, unroutable) in fates(0, &library.outcomes).iter().zip(&unroutable) {
                    match fate {
                        Some(Ok(())) => proptest::prop_assert!(!unroutable),
                        Some(Err(PublishError::Unroutable)) => proptest::prop_assert!(unroutable),
                        Some(Err(other)) => panic!("{other}"),
                        None => {}
                    }
                }
            }
        }
    }
}
