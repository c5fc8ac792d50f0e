//! `GET /metrics`: what operators look at and alert on, as Prometheus text.
//!
//! The number of series is bounded: see `docs/monitoring.md`.

mod gauges;
mod labels;
mod names;
mod observe;
mod queues;

use std::sync::Arc;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use hmac_propagator::broker::BrokerOptions;
use hmac_propagator::event::Event;
use hmac_propagator::id::PeerQueue;
use hmac_propagator::management::sql::SqlManagement;
use hmac_propagator::propagator::Propagator;
use hmac_propagator::verify::VerifierEvent;
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::fault::Fault;
use crate::serve::events::Feed;
use gauges::Gauges;
use names::Kind;
use observe::Counting;
use queues::Queues;

/// The content type of the text.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// From a few milliseconds, undisturbed, to the day that a target was away.
const LATENCY: [f64; 18] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0,
    3600.0, 21_600.0, 86_400.0,
];
const SYNC: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

/// Counts what happens. Clones share everything.
#[derive(Clone)]
pub(crate) struct Metrics {
    handle: PrometheusHandle,
    counting: Arc<Counting>,
}

/// [`Metrics`] with whom to ask at each scrape.
#[derive(Clone)]
pub(crate) struct Scrape {
    metrics: Metrics,
    gauges: Arc<Gauges>,
    feed: Feed,
}

impl Metrics {
    /// Makes this process's metrics the ones that are counted into. Once per process.
    pub(crate) fn install() -> Result<Self, Fault> {
        let unusable = |e: BuildError| Fault::because("cannot set up the metrics", e);
        let recorder = builder().map_err(unusable)?.build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder)
            .map_err(|_| Fault::new("the metrics of this process are set up already"))?;
        describe();
        Counting::start_at_zero();
        Ok(Self { handle, counting: Arc::new(Counting::new()) })
    }

    /// Counts an event of the peer.
    pub(crate) fn event(&self, event: &Event) {
        self.counting.event(event);
    }

    /// Counts what a verifier did.
    pub(crate) fn request(&self, event: &VerifierEvent) {
        self.counting.request(event);
    }

    /// Folds the samples that came since the last scrape, so that they do not pile up when nobody
    /// scrapes.
    pub(crate) fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// Also asks the peer and its database, at each scrape.
    pub(crate) fn scrape(
        self,
        peer: Propagator,
        management: Option<SqlManagement>,
        queues: (BrokerOptions, PeerQueue),
        feed: Feed,
    ) -> Scrape {
        let queues = Queues::new(queues.0, queues.1);
        Scrape { metrics: self, gauges: Arc::new(Gauges::new(peer, management, queues)), feed }
    }
}

impl Scrape {
    /// The text. Takes a few seconds at most, whatever is down.
    pub(crate) async fn text(&self) -> String {
        self.gauges.refresh(&self.metrics.counting.targets).await;
        let readers = self.feed.readers();
        // Bounded by the limit on readers, far below what a double cannot count.
        #[allow(clippy::cast_precision_loss)]
        gauge!(names::READERS).set(readers.now as f64);
        counter!(names::READERS_DROPPED).absolute(readers.dropped);
        counter!(names::READERS_REFUSED).absolute(readers.refused);
        self.metrics.handle.render()
    }
}

/// Counts the calls of `POST /rotate` that hold the admin token, and those of them that did not rotate.
pub(crate) async fn count_rotation(request: Request, next: Next) -> Response {
    counter!(names::ROTATE_REQUESTS).increment(1);
    let response = next.run(request).await;
    let status = response.status();
    if !status.is_success() {
        let status = status.as_str().to_owned();
        counter!(names::ROTATE_FAILURES, "status" => status).increment(1);
    }
    response
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(names::LATENCY.to_owned()), &LATENCY)?
        .set_buckets_for_metric(Matcher::Full(names::SYNC.to_owned()), &SYNC)
}

fn describe() {
    for metric in names::ALL {
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, metric.unit(), metric.help),
            Kind::Gauge => describe_gauge!(metric.name, metric.unit(), metric.help),
            Kind::Histogram => describe_histogram!(metric.name, metric.unit(), metric.help),
        }
    }
}
