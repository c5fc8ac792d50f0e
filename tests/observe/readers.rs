//! A reader of `/events`.

use std::collections::VecDeque;

use reqwest::{Client, Response};
use serde_json::Value;

use crate::peers::{SOON, TOKEN};

/// One event as it arrived.
#[derive(Clone, Debug, Default)]
pub(crate) struct Received {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) data: Value,
}

pub(crate) struct Reader {
    response: Response,
    text: String,
    pub(crate) events: VecDeque<Received>,
    pub(crate) comments: usize,
    /// All that arrived.
    pub(crate) raw: String,
    last_id: String,
}

impl Reader {
    pub(crate) async fn open(http: &Client, url: &str, last: Option<&str>) -> Self {
        let mut request = http.get(url).bearer_auth(TOKEN);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        let (text, raw, last_id) = Default::default();
        Self { response, text, events: VecDeque::new(), comments: 0, raw, last_id }
    }

    /// Reads on until an event of this name, and returns it.
    pub(crate) async fn until(&mut self, name: &str) -> Received {
        self.until_that(|event| event.name == name).await
    }

    pub(crate) async fn until_that(&mut self, wanted: impl Fn(&Received) -> bool) -> Received {
        let reading = async {
            loop {
                while let Some(event) = self.events.pop_front() {
                    if wanted(&event) {
                        return event;
                    }
                }
                assert!(self.read().await, "the stream ended:\n{}", self.raw);
            }
        };
        let found = tokio::time::timeout(SOON, reading).await;
        found.unwrap_or_else(|_| panic!("not told in time"))
    }

    /// Waits for the end of the stream.
    pub(crate) async fn end(&mut self) {
        let reading = async { while self.read().await {} };
        tokio::time::timeout(SOON, reading).await.expect("the stream goes on");
    }

    /// Where it stands.
    pub(crate) async fn position(&mut self) -> String {
        let reading = async {
            while self.last_id.is_empty() {
                assert!(self.read().await);
            }
        };
        tokio::time::timeout(SOON, reading).await.unwrap();
        self.last_id.clone()
    }

    pub(crate) async fn comment(&mut self) {
        let before = self.comments;
        let reading = async {
            while self.comments == before {
                assert!(self.read().await);
            }
        };
        tokio::time::timeout(SOON, reading).await.expect("no heartbeat");
    }

    /// Reads some more; false at the end.
    async fn read(&mut self) -> bool {
        let Ok(Some(chunk)) = self.response.chunk().await else { return false };
        let chunk = std::str::from_utf8(&chunk).unwrap();
        self.raw.push_str(chunk);
        self.text.push_str(chunk);
        while let Some(end) = self.text.find("\n\n") {
            let block: String = self.text.drain(..end + 2).collect();
            self.block(&block);
        }
        true
    }

    fn block(&mut self, block: &str) {
        let mut event = Received::default();
        for line in block.lines() {
            match line.split_once(':') {
                Some(("", _)) => self.comments += 1,
                Some(("id", id)) => {
                    event.id = id.trim().to_owned();
                    self.last_id.clone_from(&event.id);
                }
                Some(("event", name)) => event.name = name.trim().to_owned(),
                Some(("data", data)) => event.data = serde_json::from_str(data).unwrap(),
                _ => {}
            }
        }
        if !event.name.is_empty() {
            self.events.push_back(event);
        }
    }
}
