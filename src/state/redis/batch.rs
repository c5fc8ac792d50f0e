//! What the callers of one round trip ask for, as one pipeline, and what each of them is told.
//!
//! A key that several callers ask for is read once. All reads stand before all claims, so that each
//! caller is still told what stood there after it asked and before its name was taken.

use std::collections::HashMap;
use std::time::Duration;

use redis::{Cmd, FromRedisValue, Pipeline, Value};

use super::store_error;
use crate::error::StoreError;
use crate::state::{CLAIMED, Key};

/// What one caller asks for. It waits among others: what can be made when the batch is made is not
/// made before.
pub(super) struct Ask {
    keys: Keys,
    name: String,
    ttl_ms: u64,
}

/// Nearly always one, which then needs no list.
enum Keys {
    One(Key),
    Other(Box<[Key]>),
}

/// What it is told: the values of its keys, and whether the name was free.
pub(super) type Told = Result<(Vec<Option<String>>, bool), StoreError>;

/// The commands of a batch are sent, and their answers are shared out.
pub(super) struct Batch {
    pub(super) pipeline: Pipeline,
    shares: Shares,
}

/// Which answers are whose.
struct Shares {
    reads: usize,
    /// For each caller, how many keys it asked for.
    keys: Vec<usize>,
    /// For each key of each caller, where its value is.
    places: Vec<Place>,
}

/// The value at an index of the answer to one of the reads.
#[derive(Clone, Copy)]
struct Place {
    read: usize,
    index: usize,
}

/// The reads of a batch: one command for all fields of a hash, and one for each plain key, so that a
/// key which the server refuses concerns only those who ask for it.
#[derive(Default)]
struct Reads<'a> {
    commands: Vec<Cmd>,
    hashes: HashMap<&'a str, Place>,
    places: HashMap<&'a Key, Place>,
}

impl Ask {
    pub(super) fn new(keys: &[Key], name: String, ttl: Duration) -> Self {
        let keys = match keys {
            [key] => Keys::One(key.clone()),
            keys => Keys::Other(keys.into()),
        };
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1);
        Self { keys, name, ttl_ms }
    }

    fn keys(&self) -> &[Key] {
        match &self.keys {
            Keys::One(key) => std::slice::from_ref(key),
            Keys::Other(keys) => keys,
        }
    }

    fn claim(&self) -> Cmd {
        let mut claim = Cmd::with_capacity(6, self.name.len() + 32);
        claim.arg("SET").arg(&self.name).arg(CLAIMED).arg("NX").arg("PX").arg(self.ttl_ms);
        claim
    }
}

impl Batch {
    pub(super) fn of(asks: &[Ask]) -> Self {
        let mut reads = Reads::default();
        let places = asks.iter().flat_map(Ask::keys).map(|key| reads.place(key)).collect();
        let reads = reads.commands;
        let keys = asks.iter().map(|ask| ask.keys().len()).collect();
        let shares = Shares { reads: reads.len(), keys, places };
        let mut pipeline = Pipeline::with_capacity(reads.len() + asks.len());
        for command in reads.into_iter().chain(asks.iter().map(Ask::claim)) {
            pipeline.add_command(command);
        }
        Self { pipeline, shares }
    }

    /// What each caller is told, in their order, out of the answers to the pipeline. An error of the
    /// server stands among these in the place of one answer.
    pub(super) fn told(self, answers: Vec<Value>) -> impl Iterator<Item = Told> {
        let Shares { reads, keys, places } = self.shares;
        let mut answers = answers.into_iter();
        let read: Vec<_> = answers.by_ref().take(reads).map(values).collect();
        let mut passed = 0;
        keys.into_iter().map(move |count| {
            let own = &places[passed..passed + count];
            passed += count;
            let free = answers.next().ok_or_else(unanswered).and_then(taken);
            let values = own.iter().map(|place| value(&read, *place)).collect::<Result<_, _>>();
            Ok((values?, free?))
        })
    }
}

impl<'a> Reads<'a> {
    fn place(&mut self, key: &'a Key) -> Place {
        if let Some(place) = self.places.get(key) {
            return *place;
        }
        let place = match &key.field {
            Some(field) => self.field(&key.name, field),
            None => self.command("MGET", &key.name),
        };
        self.places.insert(key, place);
        place
    }

    fn field(&mut self, name: &'a str, field: &str) -> Place {
        let place = match self.hashes.get(name) {
            Some(last) => Place { index: last.index + 1, ..*last },
            None => self.command("HMGET", name),
        };
        self.hashes.insert(name, place);
        self.commands[place.read].arg(field);
        place
    }

    fn command(&mut self, command: &str, name: &str) -> Place {
        let mut read = Cmd::with_capacity(4, name.len() + 64);
        read.arg(command).arg(name);
        self.commands.push(read);
        Place { read: self.commands.len() - 1, index: 0 }
    }
}

/// The values that a read is answered with.
fn values(answer: Value) -> Result<Vec<Value>, StoreError> {
    match answer.extract_error().map_err(store_error)? {
        Value::Array(values) => Ok(values),
        _ => Err(other_type()),
    }
}

/// Each value by itself, because one that cannot be read concerns only those who ask for it.
fn value(
    read: &[Result<Vec<Value>, StoreError>],
    place: Place,
) -> Result<Option<String>, StoreError> {
    let values = read.get(place.read).ok_or_else(unanswered)?.as_ref().map_err(Clone::clone)?;
    let value = values.get(place.index).ok_or_else(unanswered)?;
    Option::<String>::from_redis_value_ref(value).map_err(|_| other_type())
}

fn taken(answer: Value) -> Result<bool, StoreError> {
    Ok(matches!(answer.extract_error().map_err(store_error)?, Value::Okay))
}

fn unanswered() -> StoreError {
    StoreError::permanent("Redis left a command unanswered")
}

fn other_type() -> StoreError {
    StoreError::permanent("Redis answered a read with another type")
}

#[cfg(test)]
mod tests {
    use redis::Arg;

    use super::*;

    const LIFE: Duration = Duration::from_secs(1);

    fn ask(keys: &[Key], name: &str) -> Ask {
        Ask::new(keys, name.to_owned(), LIFE)
    }

    fn record(client: &str) -> Key {
        Key::field("clients", client)
    }

    fn text(arg: Arg<&[u8]>) -> String {
        match arg {
            Arg::Simple(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            other => format!("{other:?}"),
        }
    }

    fn commands(batch: &Batch) -> Vec<String> {
        let line = |cmd: &Cmd| cmd.args_iter().map(text).collect::<Vec<_>>().join(" ");
        batch.pipeline.cmd_iter().map(line).collect()
    }

    /// What a caller is told, errors by their predicate: `Err(true)` is transient.
    type Told = Result<(Vec<Option<String>>, bool), bool>;

    fn told(batch: Batch, answers: &[&[u8]]) -> Vec<Told> {
        let answers = answers.iter().map(|bytes| redis::parse_redis_value(bytes).unwrap());
        batch
            .told(answers.collect())
            .map(|told| told.map_err(|error| error.is_transient()))
            .collect()
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn a_key_is_read_once_and_everybody_who_asked_is_told() {
        let backup = Key::value("backup");
        let batch = Batch::of(&[
            ask(&[record("a")], "1"),
            ask(&[record("b"), backup.clone()], "2"),
            ask(&[], "3"),
            ask(&[backup, record("a")], "4"),
            ask(&[Key::field("others", "a")], "5"),
        ]);
        let expected = [
            "HMGET clients a b",
            "MGET backup",
            "HMGET others a",
            "SET 1 1 NX PX 1000",
            "SET 2 1 NX PX 1000",
            "SET 3 1 NX PX 1000",
            "SET 4 1 NX PX 1000",
            "SET 5 1 NX PX 1000",
        ];
        assert_eq!(commands(&batch), expected);
        let answers: [&[u8]; 8] = [
            b"*2\r\n$2\r\nra\r\n$2\r\nrb\r\n",
            b"*1\r\n$3\r\nold\r\n",
            b"*1\r\n$-1\r\n",
            b"+OK\r\n",
            b"$-1\r\n",
            b"+OK\r\n",
            b"+OK\r\n",
            b"+OK\r\n",
        ];
        let expected = [
            Ok((vec![some("ra")], true)),
            Ok((vec![some("rb"), some("old")], false)),
            Ok((vec![], true)),
            Ok((vec![some("old"), some("ra")], true)),
            Ok((vec![None], true)),
        ];
        assert_eq!(told(batch, &answers), expected);
    }

    #[test]
    fn what_the_server_refuses_concerns_only_those_who_asked_for_it() {
        let batch = Batch::of(&[
            ask(&[record("a"), Key::value("refused")], "1"),
            ask(&[record("a")], "2"),
            ask(&[Key::field("text", "f")], "3"),
            ask(&[record("a")], "4"),
        ]);
        let answers: [&[u8]; 7] = [
            b"*1\r\n$2\r\nra\r\n",
            b"-NOPERM not this key\r\n",
            b"-WRONGTYPE no hash\r\n",
            b"+OK\r\n",
            b"-OOM no room\r\n",
            b"+OK\r\n",
            b"+OK\r\n",
        ];
        let expected = [Err(false), Err(true), Err(false), Ok((vec![some("ra")], true))];
        assert_eq!(told(batch, &answers), expected);
    }

    #[test]
    fn a_record_that_is_no_text_concerns_its_own_client_only() {
        let batch = Batch::of(&[ask(&[record("a")], "1"), ask(&[record("b")], "2")]);
        let answers: [&[u8]; 3] = [b"*2\r\n$1\r\n\xff\r\n$2\r\nrb\r\n", b"+OK\r\n", b"+OK\r\n"];
        assert_eq!(told(batch, &answers), [Err(false), Ok((vec![some("rb")], true))]);
    }

    #[test]
    fn nobody_is_let_through_by_an_answer_that_is_missing() {
        let batch = || Batch::of(&[ask(&[record("a"), record("b")], "1")]);
        let short: [&[u8]; 2] = [b"*1\r\n$2\r\nra\r\n", b"+OK\r\n"];
        assert_eq!(told(batch(), &short), [Err(false)]);
        assert_eq!(told(batch(), &short[..1]), [Err(false)]);
        assert_eq!(told(batch(), &[b"+OK\r\n", b"+OK\r\n"]), [Err(false)]);
        assert_eq!(told(batch(), &[]), [Err(false)]);
    }
}
