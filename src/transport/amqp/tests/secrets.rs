use std::fmt::{Debug, Write};
use std::sync::Mutex;

use hmac_propagator_support::Proxy;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::*;
use crate::transport::PublishError;

/// Everything that is logged in this process, at every level, spans included.
#[derive(Clone, Default)]
struct Everything(Arc<Mutex<String>>);

impl Everything {
    /// What was logged since the last call.
    fn take(&self) -> String {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

impl Subscriber for Everything {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        span.record(&mut Fields(&mut self.0.lock().unwrap()));
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut Fields(&mut self.0.lock().unwrap()));
    }
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut text = self.0.lock().unwrap();
        write!(text, "\n{}", event.metadata().target()).unwrap();
        event.record(&mut Fields(&mut text));
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Whether a text shows a secret, as it is or as the list of bytes that `Debug` makes of it.
fn shows(text: &str, secret: &str) -> bool {
    let bytes = format!("{:?}", secret.as_bytes());
    text.contains(secret) || text.contains(bytes.trim_matches(['[', ']']))
}

#[tokio::test]
async fn neither_bodies_nor_the_password_are_logged_at_any_level() {
    const SECRET: &str = "s3cr3t-of-a-body";
    let broker = Broker::start().await.unwrap();
    let vhost = broker.vhost().await.unwrap();
    let proxy = Proxy::start(broker.address()).await.unwrap();
    let logged = Everything::default();
    tracing::subscriber::set_global_default(logged.clone()).unwrap();
    // What the library logs when nothing silences it: both kinds of leak, and proof that they would
    // be seen here.
    const CONTROL: &str = "body-of-another-connection";
    let queues = vhost.queues().await.unwrap();
    queues.publish("nobody", CONTROL.as_bytes()).await.unwrap_err();
    let control = logged.take();
    assert!(shows(&control, CONTROL));
    assert!(shows(&control, broker.password()));
    drop(queues);

    let (transport, mut deliveries) = start(options(&broker, &vhost, proxy.address()));
    health(&transport, both_up).await;
    transport.publish(&peer("own"), SECRET.into()).await.unwrap();
    let delivery = receive(&mut deliveries).await;
    let shown = format!("{delivery:?} {transport:?}");
    delivery.ack().await;
    let long = SECRET.repeat(10_000).into_bytes();
    for body in [SECRET.as_bytes().to_vec(), long] {
        let returned = transport.publish(&peer("nobody"), body).await;
        assert!(matches!(returned, Err(PublishError::Unroutable)), "{returned:?}");
    }
    proxy.reset_connections();
    health(&transport, |health| !both_up(health)).await;
    health(&transport, both_up).await;
    transport.close(BOUND).await;

    let text = logged.take() + &shown;
    assert!(text.contains("broker link up"));
    assert!(!shows(&text, SECRET));
    assert!(!shows(&text, broker.password()));
}

#[tokio::test]
async fn a_wrong_password_is_reported_without_naming_it() {
    let broker = Broker::start().await.unwrap();
    let vhost = broker.vhost().await.unwrap();
    let mut options = options(&broker, &vhost, broker.address());
    options.password = BrokerPassword::new("wr0ng-pa55");
    let (transport, _deliveries) = start(options);
    let down =
        health(&transport, |h| reason(&h.publisher).is_some() && reason(&h.consumer).is_some())
            .await;
    for text in [reason(&down.publisher).unwrap(), reason(&down.consumer).unwrap()] {
        assert!(text.contains("ACCESS_REFUSED"), "{text}");
        assert!(!text.contains("wr0ng-pa55"), "{text}");
    }
    assert!(!format!("{transport:?}").contains("wr0ng-pa55"));
}
